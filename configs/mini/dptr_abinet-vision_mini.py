# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# DPTR-ABINet-Vision, small enough for two CPU cores.
_base_ = ['../dptr_abinet-vision.py', '../_base_/mini.py']

width = 128
model = dict(
    backbone=dict(
        _delete_=True, type='ConvStem', channels=[16, 32, width], strides=[(2, 2), (2, 2), (1, 1)]),
    encoder=dict(n_layers=1, n_head=4, d_model=width, d_inner=2 * width, dropout=0.),
    decoder=dict(
        dictionary=dict(with_unknown=True),  # real-7k has punctuation
        vision_decoder=dict(in_channels=width, num_channels=32)),
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
faster = {**_base_.mini_pretrain_hook.cfg_options, 'optim_wrapper.optimizer.lr': 6e-3}
custom_hooks = [
    dict(_base_.mini_pretrain_hook, cfg_options=faster),
    dict(type='NonFiniteLossHook'),
]
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
