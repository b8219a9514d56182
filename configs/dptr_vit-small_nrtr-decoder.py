# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# Both stages of DPTR for a ViT-S/4 with an NRTR decoder of its width, after MAERec
# (arXiv 2307.08723), whose training pipeline and schedule are these. Weights from masked
# autoencoding go into backbone.init_cfg.
_base_ = [
    'mmocr::textrecog/nrtr/nrtr_modality-transform_6e_st_mj.py',
    '_base_/abinet_pipeline.py',
]
custom_imports = dict(imports=['mmdptr'], allow_failed_imports=False)

embeddings = 'data/dptr/words'
orp_bank = 'data/dptr/backgrounds'

width = 384
model = dict(
    type='DPTRRecognizer',
    backbone=dict(_delete_=True, type='ViT', embed_dim=width, drop_path_rate=0.1),
    encoder=None,
    neck=dict(type='FMU', num_layers=2),
    memory=dict(site='feat', form='sequence', width='d_model', any_length=True),
    decoder=dict(
        type='NRTRMapDecoder',
        d_embedding=width,
        d_model=width,
        d_inner=4 * width,
        d_k=width // 8,
        d_v=width // 8,
        max_seq_len=48))

train_dataloader = dict(dataset=dict(pipeline=_base_.abinet_train_pipeline))
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(128, 32)),
    dict(type='LoadOCRAnnotations', with_text=True),
    dict(
        type='PackTextRecogInputs',
        meta_keys=('img_path', 'ori_shape', 'img_shape', 'valid_ratio')),
]
test_dataloader = dict(batch_size=128, dataset=dict(pipeline=test_pipeline))
val_dataloader = test_dataloader

custom_hooks = [
    dict(type='DPTRPretrainHook', embeddings=embeddings, orp_bank=orp_bank, typeset=True),
    dict(type='NonFiniteLossHook'),
]
train_cfg = dict(max_epochs=10)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=4e-4, weight_decay=0.01))
param_scheduler = [
    dict(type='CosineAnnealingLR', T_max=10, eta_min=1e-8, convert_to_iter_based=True),
]
