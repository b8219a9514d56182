# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# DPTR-PARSeq, small enough for two CPU cores. Its encoder stands apart from the backbone, so that
# typeset text can train it; ViT-S of dptr_parseq.py is both in one.
_base_ = ['../parseq_vit-small.py', '../_base_/mini.py']

embeddings = 'data/dptr/words'
orp_bank = 'data/dptr/backgrounds'

width = 128
model = dict(
    type='DPTRRecognizer',
    # A few thousand crops are too few for a ViT from scratch.
    backbone=dict(
        _delete_=True,
        type='ConvStem',
        channels=[16, 32, 64, width, width],
        with_position=True),
    encoder=dict(
        _delete_=True,
        type='NRTREncoder',
        n_layers=3,
        d_model=width,
        n_head=4,
        d_k=32,
        d_v=32,
        d_inner=2 * width,
        dropout=0.),
    memory=dict(site='out_enc', form='sequence', width='d_model', any_length=True),
    decoder=dict(
        d_model=width,
        n_layers=2,
        n_head=4,
        d_inner=2 * width,
        dropout=0.,
        max_seq_len=30,
        dictionary=_base_.mini_dictionary,
        module_loss=dict(letter_case='lower')),
    neck=dict(type='FMU', num_heads=4, feedforward_ratio=2, dropout=0.))

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
