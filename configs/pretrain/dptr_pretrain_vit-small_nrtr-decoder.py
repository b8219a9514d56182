# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# Stage 1 alone: the NRTR decoder behind a ViT-S/4 on text. Writes <work_dir>/decoder.pth.
_base_ = [
    'mmocr::textrecog/nrtr/_base_nrtr_modality-transform.py',
    '../_base_/dptr_pretrain.py',
]

width = 384
decoder = dict(
    type='NRTRMapDecoder',
    d_embedding=width,
    d_model=width,
    d_inner=4 * width,
    d_k=width // 8,
    d_v=width // 8,
    max_seq_len=48)

model = dict(
    _delete_=True,
    type='DPTRPretrainer',
    decoder={**_base_.model.decoder, **decoder},
    memory=dict(site='feat', form='sequence', width='d_model', any_length=True),
    embed_dims=512)

labels = dict(dictionary=_base_.dictionary, max_seq_len=decoder['max_seq_len'])
train_dataloader = dict(dataset=labels)
val_dataloader = dict(dataset=labels)
