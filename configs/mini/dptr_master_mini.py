# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# DPTR-MASTER, small enough for two CPU cores.
_base_ = ['../dptr_master.py', '../_base_/mini.py']

width = 128
model = dict(
    backbone=dict(
        _delete_=True,
        type='ConvStem',
        channels=[16, 32, 64, width, width, width],
        strides=[(2, 2), (2, 2), (2, 1), (2, 1), (1, 1), (1, 1)]),
    decoder=dict(
        d_model=width,
        n_head=4,
        d_inner=2 * width,
        n_layers=2,
        dictionary=_base_.mini_dictionary,
        module_loss=dict(letter_case='lower')),
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
# After three epochs its decoder, which drops features in training, spells but a third of the words.
custom_hooks = [dict(_base_.mini_typeset_hook, epochs=6), dict(type='NonFiniteLossHook')]
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
