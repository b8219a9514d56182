# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# Stage 1 alone: SATRN-small's decoder on text. Writes <work_dir>/decoder.pth.
_base_ = [
    'mmocr::textrecog/satrn/_base_satrn_shallow.py',
    '../_base_/dptr_pretrain.py',
]

width = 256
decoder = dict(
    type='CachedNRTRDecoder',
    n_layers=6,
    n_head=8,
    d_embedding=width,
    d_model=width,
    d_inner=4 * width,
    d_k=width // 8,
    d_v=width // 8)

model = dict(
    _delete_=True,
    type='DPTRPretrainer',
    decoder={**_base_.model.decoder, **decoder},
    embed_dims=512)

labels = dict(dictionary=_base_.dictionary, max_seq_len=_base_.model.decoder.max_seq_len)
train_dataloader = dict(dataset=labels)
val_dataloader = dict(dataset=labels)
