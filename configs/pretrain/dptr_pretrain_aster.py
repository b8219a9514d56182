# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# Stage 1 alone: ASTER's decoder on text. Writes <work_dir>/decoder.pth.
_base_ = [
    'mmocr::textrecog/aster/_base_aster.py',
    '../_base_/dptr_pretrain.py',
]

model = dict(
    _delete_=True,
    type='DPTRPretrainer',
    decoder=dict(_base_.model.decoder, type='CachedASTERDecoder'),
    embed_dims=512)

labels = dict(dictionary=_base_.dictionary, max_seq_len=_base_.model.decoder.max_seq_len)
train_dataloader = dict(dataset=labels)
val_dataloader = dict(dataset=labels)
