# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# DPTR-NRTR behind the image tower of the small CLIP that comes with this package, which has read
# rendered words, and learns slowly, but for the projection of its features.
_base_ = ['dptr_nrtr_mini.py', '../_base_/clip_images.py']

width = 192  # of the tower's features
layers = dict(d_model=width, n_head=6, d_inner=2 * width)
model = dict(
    data_preprocessor=_base_.clip_images_preprocessor,
    backbone=dict(
        _delete_=True,
        type='CLIPVisionBackbone',
        model='clip-word-tiny',
        image_size=(32, 128)),
    encoder=dict(n_layers=2, **layers),
    neck=dict(num_heads=6),
    decoder=dict(d_embedding=width, **layers))
optim_wrapper = dict(
    paramwise_cfg=dict(
        _delete_=True,
        custom_keys={
            'backbone': dict(lr_mult=0.1),
            'backbone.tower.head': dict(lr_mult=1.)
        }))
