# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# DPTR-NRTR behind CLIP's own image tower, on MMOCR's recipe otherwise. The tower learns slowly.
_base_ = ['mmocr::textrecog/nrtr/nrtr_modality-transform_6e_st_mj.py', '_base_/clip_images.py']
custom_imports = dict(imports=['mmdptr'], allow_failed_imports=False)

embeddings = 'data/dptr/words'
orp_bank = 'data/dptr/backgrounds'

model = dict(
    type='DPTRRecognizer',
    data_preprocessor=_base_.clip_images_preprocessor,
    backbone=dict(_delete_=True, type='CLIPVisionBackbone'),
    encoder=None,
    neck=dict(type='FMU'),
    memory=dict(site='feat', form='sequence', width='d_model', any_length=True),
    decoder=dict(type='NRTRMapDecoder'))

train_dataloader = dict(
    batch_size=128, dataset=dict(pipeline=_base_.clip_images_train_pipeline))
test_dataloader = dict(batch_size=128, dataset=dict(pipeline=_base_.clip_images_test_pipeline))
val_dataloader = test_dataloader

custom_hooks = [
    dict(type='DPTRPretrainHook', embeddings=embeddings, orp_bank=orp_bank),
    dict(type='NonFiniteLossHook'),
]
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.05))))
