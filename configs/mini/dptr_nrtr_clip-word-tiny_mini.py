# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# DPTR-NRTR behind the image tower of the small CLIP that comes with this package, which has read
# rendered words, and learns slowly.
_base_ = ['dptr_nrtr_mini.py', '../_base_/clip_images.py']

model = dict(
    data_preprocessor=_base_.clip_images_preprocessor,
    backbone=dict(
        _delete_=True,
        type='CLIPVisionBackbone',
        model='clip-word-tiny',
        pretrained='packaged',
        image_size=(32, 128)),
    encoder=None,
    decoder=dict(type='NRTRMapDecoder'))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))))
