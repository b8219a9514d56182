# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# PARSeq-S (arXiv 2207.06966) with the paper's sizes, batch and learning rate: a ViT of patches of
# 4x8 and a decoder of one layer. On MMOCR's MJ and ST; the paper's real data goes into data roots.
# No DPTR in it.
_base_ = ['mmocr::textrecog/nrtr/nrtr_modality-transform_6e_st_mj.py']
custom_imports = dict(imports=['mmdptr'], allow_failed_imports=False)

model = dict(
    type='PARSeq',
    backbone=dict(_delete_=True, type='ViT', patch_size=(4, 8), class_token=False),
    encoder=None,
    decoder=dict(
        _delete_=True,
        type='PARSeqDecoder',
        dictionary=_base_.dictionary,
        module_loss=dict(type='PARSeqLoss'),
        postprocessor=dict(type='AttentionPostprocessor')))

train_pipeline = [
    dict(type='LoadImageFromFile', ignore_empty=True, min_size=2),
    dict(type='LoadOCRAnnotations', with_text=True),
    # The paper's has blur and Poisson noise besides, and no change of sharpness.
    dict(type='TorchVisionWrapper', op='RandAugment', num_ops=3, magnitude=5),
    dict(type='Resize', scale=(128, 32)),
    dict(
        type='PackTextRecogInputs',
        meta_keys=('img_path', 'ori_shape', 'img_shape', 'valid_ratio')),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(128, 32)),
    dict(type='LoadOCRAnnotations', with_text=True),
    dict(
        type='PackTextRecogInputs',
        meta_keys=('img_path', 'ori_shape', 'img_shape', 'valid_ratio')),
]
train_dataloader = dict(batch_size=384, dataset=dict(pipeline=train_pipeline))
test_dataloader = dict(batch_size=384, dataset=dict(pipeline=test_pipeline))
val_dataloader = test_dataloader

custom_hooks = [dict(type='NonFiniteLossHook')]
train_cfg = dict(max_epochs=20)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=7e-4, weight_decay=0.),
    clip_grad=dict(max_norm=20))
# Up in 1.5 epochs, down in the others; MMEngine's OneCycleLR would undo learning-rate multipliers.
param_scheduler = [
    dict(
        type='LinearLR', start_factor=0.04, end=1.5, by_epoch=True, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        begin=1.5,
        end=20,
        eta_min=0,
        by_epoch=True,
        convert_to_iter_based=True),
]
