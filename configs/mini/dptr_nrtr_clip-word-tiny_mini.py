# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# DPTR-NRTR behind the image tower of the small CLIP that comes with this package, which has read
# rendered words, and learns slowly. Its text tower makes the memories of stage 1.
_base_ = ['dptr_nrtr_mini.py', '../_base_/clip_images.py']

width = 192  # of the tower's features
model = dict(
    data_preprocessor=_base_.clip_images_preprocessor,
    backbone=dict(
        _delete_=True,
        type='CLIPVisionBackbone',
        model='clip-word-tiny',
        image_size=(32, 128)),
    encoder=None,
    neck=dict(num_heads=6),
    memory=dict(site='feat', form='sequence', width='d_model', any_length=True),
    decoder=dict(
        type='NRTRMapDecoder',
        d_model=width,
        d_embedding=width,
        d_inner=2 * width,
        n_head=6))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))))
custom_hooks = [
    dict(
        _base_.mini_pretrain_hook,
        embeddings='data/dptr/words_clip',
        orp_bank='data/dptr/backgrounds_clip'),
    dict(type='NonFiniteLossHook'),
]
