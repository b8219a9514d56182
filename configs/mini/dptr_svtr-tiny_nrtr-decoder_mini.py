# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# DPTR-SVTR with an NRTR decoder, small enough for two CPU cores.
_base_ = ['../dptr_svtr-tiny_nrtr-decoder.py', '../_base_/mini.py']

width = 128
model = dict(
    preprocessor=None,
    encoder=dict(
        img_size=[32, 128],
        out_channels=width,
        max_seq_len=32,
        embed_dims=[32, 64, 128],
        depth=[1, 2, 1],
        num_heads=[1, 2, 4],
        mixer_types=['Local'] * 2 + ['Global'] * 2),
    decoder=dict(n_layers=2,
        d_embedding=width,
        d_model=width,
        n_head=4,
        d_inner=2 * width),
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
