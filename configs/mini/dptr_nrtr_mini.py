# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# DPTR-NRTR, small enough for two CPU cores.
_base_ = ['../dptr_nrtr.py', '../_base_/mini.py']

width = 128
layers = dict(d_model=width, n_head=4, d_k=32, d_v=32, d_inner=2 * width, dropout=0.)
model = dict(
    backbone=dict(_delete_=True, type='ConvStem', channels=[16, 32, 64, width, width]),
    encoder=dict(n_layers=3, **layers),
    decoder=dict(
        n_layers=2,
        d_embedding=width,
        dictionary=_base_.mini_dictionary,
        module_loss=dict(letter_case='lower'),
        **layers),
    neck=dict(num_heads=4, feedforward_ratio=2, dropout=0.))

train_dataloader = dict(_delete_=True, **_base_.mini_train_dataloader)
test_dataloader = dict(_delete_=True, **_base_.mini_test_dataloader)
val_dataloader = test_dataloader
val_evaluator = dict(_delete_=True, **_base_.mini_evaluator)
test_evaluator = val_evaluator
train_cfg = dict(_delete_=True, **_base_.mini_train_cfg)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, **_base_.mini_optimizer),
    paramwise_cfg=_base_.mini_typeset_rates,
    clip_grad=_base_.mini_clip_grad)
param_scheduler = _base_.mini_param_scheduler
default_hooks = _base_.mini_default_hooks
custom_hooks = _base_.mini_typeset_hooks
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
