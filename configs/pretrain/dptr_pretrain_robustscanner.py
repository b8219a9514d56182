# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# Stage 1 alone: RobustScanner's decoder and its 1x1 encoder on text. Writes <work_dir>/decoder.pth.
_base_ = [
    'mmocr::textrecog/robust_scanner/_base_robustscanner_resnet31.py',
    '../_base_/dptr_pretrain.py',
]

model = dict(
    _delete_=True,
    type='DPTRPretrainer',
    decoder=_base_.model.decoder,
    encoder=_base_.model.encoder,
    embed_dims=512)

labels = dict(dictionary=_base_.dictionary, max_seq_len=_base_.model.decoder.max_seq_len)
train_dataloader = dict(dataset=labels)
val_dataloader = dict(dataset=labels)
