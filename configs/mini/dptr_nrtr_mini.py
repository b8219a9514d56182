# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# DPTR-NRTR small enough for two CPU cores: a convolutional stem, then NRTR's classes with fewer and
# narrower layers, images of a fixed size, 36 characters, protocol real-7k.
_base_ = ['../dptr_nrtr.py', '../_base_/real7k.py']

embeddings = 'data/dptr/words'
orp_bank = 'data/dptr/backgrounds'

dictionary = dict(dict_file='{{ fileDirname }}/../_base_/dicts/lower_english_digits.txt')
width = 128
layers = dict(d_model=width, n_head=4, d_k=32, d_v=32, d_inner=2 * width, dropout=0.)
model = dict(
    backbone=dict(_delete_=True, type='ConvStem', channels=[16, 32, 64, width, width]),
    encoder=dict(n_layers=3, **layers),
    decoder=dict(
        n_layers=2,
        d_embedding=width,
        dictionary=dictionary,
        module_loss=dict(letter_case='lower'),
        **layers),
    neck=dict(num_heads=4, feedforward_ratio=2, dropout=0.))

train_dataloader = dict(
    batch_size=128,
    num_workers=2,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(_delete_=True, **_base_.real7k_train_dataset))
test_dataloader = dict(
    batch_size=128, num_workers=1, dataset=dict(_delete_=True, **_base_.real7k_test_dataset))
val_dataloader = test_dataloader
val_evaluator = dict(
    _delete_=True,
    type='MultiDatasetsEvaluator',
    metrics=[dict(type='WordMetric', mode=['ignore_case_symbol'])],
    dataset_prefixes=_base_.real7k_names)
test_evaluator = val_evaluator

max_iters = 1500
train_cfg = dict(
    _delete_=True, type='IterBasedTrainLoop', max_iters=max_iters, val_interval=1500)
# Not OneCycleLR: MMEngine's gives all parameters one rate, which would undo the multiplier.
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=2e-3, weight_decay=0.01),
    clip_grad=dict(max_norm=20))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, end=100, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=0, begin=100, end=max_iters, by_epoch=False),
]
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=50),
    checkpoint=dict(by_epoch=False, interval=500, max_keep_ckpts=1))

# One cache of decoders for all mini runs: stage 1 is run once.
pretrain_dir = 'work_dirs/dptr_pretrain_mini'
custom_hooks = [
    dict(
        type='DPTRPretrainHook',
        embeddings=embeddings,
        orp_bank=orp_bank,
        epochs=2,
        cfg_options={'optim_wrapper.optimizer.lr': 1.5e-3},
        pretrain_dir=pretrain_dir),
    dict(type='NonFiniteLossHook'),
]
