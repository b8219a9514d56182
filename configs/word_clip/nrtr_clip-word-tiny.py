# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# The image tower of clip-word-tiny learns to read rendered words, as the backbone of NRTR, before
# CLIP is trained: tools/word_clip/README.md.
_base_ = ['../mini/dptr_nrtr_clip-word-tiny_mini.py']

data_root = 'data/word_clip/english'

model = dict(
    backbone=dict(pretrained='random'),
    neck=None,
    decoder=dict(dictionary=dict(type='GraphemeDictionary')))
custom_hooks = [dict(type='NonFiniteLossHook')]

words = dict(
    _delete_=True,
    type='RecogTextDataset',
    data_root=data_root,
    parser_cfg=dict(type='LineJsonParser', keys=['filename', 'text']),
    pipeline=_base_.real7k_test_pipeline)  # the rendered images vary enough
train_dataloader = dict(dataset=dict(ann_file='train.jsonl', **words))
test_dataloader = dict(dataset=dict(ann_file='val.jsonl', test_mode=True, **words))
val_dataloader = test_dataloader
val_evaluator = dict(_delete_=True, **_base_.mini_any_script_evaluator)
test_evaluator = val_evaluator

max_iters = 1600
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(
    _delete_=True,
    type='BF16OptimWrapper',  # as train.py after it
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=20))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, end=100, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=1e-5, begin=100, end=max_iters, by_epoch=False),
]
default_hooks = dict(checkpoint=dict(interval=400))
