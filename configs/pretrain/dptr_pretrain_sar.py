# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# Stage 1 alone: SAR's parallel decoder on text. Writes <work_dir>/decoder.pth.
_base_ = [
    'mmocr::textrecog/sar/_base_sar_resnet31_parallel-decoder.py',
    '../_base_/dptr_pretrain.py',
]

model = dict(
    _delete_=True,
    type='DPTRPretrainer',
    decoder=dict(_base_.model.decoder, type='CachedParallelSARDecoder'),
    embed_dims=512)

labels = dict(dictionary=_base_.dictionary, max_seq_len=_base_.model.decoder.max_seq_len)
train_dataloader = dict(dataset=labels)
val_dataloader = dict(dataset=labels)
