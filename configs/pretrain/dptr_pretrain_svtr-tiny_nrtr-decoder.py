# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# Stage 1 alone: the NRTR decoder behind SVTR-tiny on text. Writes <work_dir>/decoder.pth.
_base_ = ['../_base_/svtr_nrtr_decoder.py', '../_base_/dptr_pretrain.py']

width = 192
decoder = dict(
    d_embedding=width,
    d_model=width,
    n_head=width // 32,
    d_inner=4 * width,
    **_base_.nrtr_decoder)
model = dict(type='DPTRPretrainer', decoder=decoder, embed_dims=512)

labels = dict(dictionary=decoder['dictionary'], max_seq_len=decoder['max_seq_len'])
train_dataloader = dict(dataset=labels)
val_dataloader = dict(dataset=labels)
