# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# DPTR-CRNN, small enough for two CPU cores.
_base_ = ['../dptr_crnn.py', '../_base_/mini.py']

width = 128
model = dict(
    backbone=dict(
        _delete_=True,
        type='ConvStem',
        channels=[16, 32, 64, width, width, width],
        strides=[(2, 2), (2, 2), (2, 1), (2, 1), (2, 1), (1, 1)]),
    decoder=dict(
        in_channels=width,
        dictionary=dict(with_unknown=True),  # real-7k has punctuation
    ),
    data_preprocessor=dict(mean=[127] * 3, std=[127] * 3),
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
custom_hooks = _base_.mini_ctc_hooks
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
