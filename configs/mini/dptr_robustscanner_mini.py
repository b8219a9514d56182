# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# DPTR-RobustScanner, small enough for two CPU cores.
_base_ = ['../dptr_robustscanner.py', '../_base_/mini.py']

width = 128
model = dict(
    backbone=dict(
        _delete_=True,
        type='ConvStem',
        channels=[16, 32, 64, width, width, width],
        strides=[(2, 2), (2, 2), (2, 1), (2, 1), (1, 1), (1, 1)]),
    encoder=dict(in_channels=width, out_channels=width // 2),
    decoder=dict(
        hybrid_decoder=dict(dim_input=width, dim_model=width // 2),
        position_decoder=dict(dim_input=width, dim_model=width // 2),
        in_channels=[width, width],
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
    optimizer=dict(_delete_=True, **_base_.mini_optimizer), clip_grad=_base_.mini_clip_grad)
param_scheduler = _base_.mini_param_scheduler
default_hooks = _base_.mini_default_hooks
# After three epochs it spells but a tenth of the words.
custom_hooks = [dict(_base_.mini_typeset_hook, epochs=8), dict(type='NonFiniteLossHook')]
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
