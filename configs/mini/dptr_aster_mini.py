# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# DPTR-ASTER, small enough for two CPU cores.
_base_ = ['../dptr_aster.py', '../_base_/mini.py']

width = 128
model = dict(
    preprocessor=None,  # in few steps a spatial transformer learns to make words too small
    backbone=dict(_delete_=True, type='ConvStem', channels=[16, 32, 64, width, width]),
    encoder=dict(in_channels=width),
    decoder=dict(
        in_channels=width,
        emb_dims=width,
        attn_dims=width,
        hidden_size=width,
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
custom_hooks = _base_.mini_typeset_hooks
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
