# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# DPTR-PARSeq behind CLIP's own image tower, whose tokens are as wide as the text's. Lower blocks of
# the tower learn more slowly than upper ones.
_base_ = ['parseq_vit-small.py', '_base_/clip_images.py']

embeddings = 'data/dptr/words'
orp_bank = 'data/dptr/backgrounds'

width = 512
model = dict(
    type='DPTRRecognizer',
    data_preprocessor=_base_.clip_images_preprocessor,
    backbone=dict(_delete_=True, type='CLIPVisionBackbone'),
    decoder=dict(d_model=width, n_head=8, d_inner=4 * width),
    neck=dict(type='FMU'))

train_dataloader = dict(
    batch_size=128, dataset=dict(pipeline=_base_.clip_images_train_pipeline))
test_dataloader = dict(batch_size=128, dataset=dict(pipeline=_base_.clip_images_test_pipeline))
val_dataloader = test_dataloader

custom_hooks = [
    dict(type='DPTRPretrainHook', embeddings=embeddings, orp_bank=orp_bank),
    dict(type='NonFiniteLossHook'),
]
layers = {
    f'backbone.tower.transformer.resblocks.{i}.': dict(lr_mult=0.05 * 0.75**(11 - i))
    for i in range(12)
}
optim_wrapper = dict(
    optimizer=dict(lr=1e-3, weight_decay=0.05),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.05), **layers)))
