# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# DPTR-CLIP4STR, small enough for two CPU cores: a convolutional stem in place of CLIP's image
# tower, and the random text tower of the mini embeddings.
_base_ = ['../dptr_clip4str.py', '../_base_/mini.py']

width = 256
parseq = dict(
    d_model=width,
    n_head=4,
    d_inner=2 * width,
    dropout=0.,
    max_seq_len=30,
    dictionary=_base_.mini_dictionary,
    module_loss=dict(letter_case='lower'))
model = dict(
    data_preprocessor=dict(mean=[127] * 3, std=[127] * 3),
    backbone=dict(
        _delete_=True,
        type='ConvStem',
        channels=[16, 32, 64, width // 2, width],
        with_position=True),
    text_encoder=dict(model='mmdptr-tiny', pretrained='random', frozen_stages=1),
    decoder=parseq,
    cross_decoder=parseq,
    neck=dict(num_heads=4, feedforward_ratio=2, dropout=0.))

train_dataloader = dict(_delete_=True, **_base_.mini_train_dataloader)
test_dataloader = dict(_delete_=True, **_base_.mini_test_dataloader)
val_dataloader = test_dataloader
val_evaluator = dict(_delete_=True, **_base_.mini_evaluator)
test_evaluator = val_evaluator
train_cfg = dict(_delete_=True, **_base_.mini_train_cfg)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, **_base_.mini_optimizer),
    paramwise_cfg=dict(_delete_=True),
    clip_grad=_base_.mini_clip_grad)
param_scheduler = _base_.mini_param_scheduler
default_hooks = _base_.mini_default_hooks
custom_hooks = [
    dict(_base_.mini_typeset_hook, twins=['cross_decoder']),
    dict(type='NonFiniteLossHook'),
]
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
