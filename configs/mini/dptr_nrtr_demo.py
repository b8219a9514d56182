# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# `make demo`: NRTR behind the eyes of clip-word-tiny, on rendered words, minutes on two CPU cores.
_base_ = ['dptr_nrtr_clip-word-tiny_mini.py']

data_root = 'data/demo'

model = dict(decoder=dict(max_seq_len=16))  # the demo's words have 12 characters at most

train_dataloader = dict(
    batch_size=64,
    dataset=dict(
        data_root=data_root,
        ann_file='labels_train.jsonl',
        pipeline=_base_.real7k_train_pipeline))
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='RecogTextDataset',
        data_root=data_root,
        ann_file='labels_test.jsonl',
        parser_cfg=dict(type='LineJsonParser', keys=['filename', 'text']),
        test_mode=True,
        pipeline=_base_.real7k_test_pipeline))
val_dataloader = test_dataloader
val_evaluator = dict(dataset_prefixes=['demo'])
test_evaluator = val_evaluator

# Rendered words are what the tower was trained on: it may learn faster than for photographs.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.3)}))
max_iters = 1000
train_cfg = dict(max_iters=max_iters, val_interval=500)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, end=100, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=0, begin=100, end=max_iters, by_epoch=False),
]
default_hooks = dict(checkpoint=dict(interval=500))

custom_hooks = [
    dict(
        type='DPTRPretrainHook',
        embeddings=f'{data_root}/embeddings',
        orp_bank=f'{data_root}/orp_bank',
        typeset=True,
        epochs=4,
        cfg_options={
            'optim_wrapper.optimizer.lr': 1.5e-3,
            'train_dataloader.batch_size': 128,
        }),
    dict(type='NonFiniteLossHook'),
]
