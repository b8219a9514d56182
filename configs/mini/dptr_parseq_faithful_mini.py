# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# DPTR-PARSeq as in the paper, small enough for two CPU cores. Extract the text embeddings with
# --keep-padding; 78 tokens of 87,000 words take 3.5 GB.
_base_ = ['../dptr_parseq_faithful.py', '../_base_/mini.py']

width = 128
model = dict(
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
        n_layers=3,
        n_head=4,
        d_inner=2 * width,
        dropout=0.,
        max_seq_len=30,
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
pretrain_hook = dict(
    embeddings='data/dptr/words_with_padding',
    load=['decoder'],
    cfg_options={
        **_base_.mini_pretrain_hook.cfg_options,
        'model.with_position': False,
        'model.data_preprocessor.type': 'TextEmbeddingPreprocessor',
        'train_dataloader.dataset.pipeline.0.shared_positions': True,
    })
custom_hooks = [{**_base_.mini_pretrain_hook, **pretrain_hook}, dict(type='NonFiniteLossHook')]
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
