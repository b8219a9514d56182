# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# What the small variants of languages share: NRTR for two CPU cores, and folds of few labelled
# crops, as tools/prepare_folds.py writes them.
_base_ = ['../mini/dptr_nrtr_mini.py']

model = dict(decoder=dict(dictionary=dict(type='GraphemeDictionary')))
language_pretrain_hook = _base_.mini_typeset_hook

crops = dict(
    _delete_=True,
    type='RecogTextDataset',
    parser_cfg=dict(type='LineJsonParser', keys=['filename', 'text']))
train_dataloader = dict(
    dataset=dict(ann_file='0_train.jsonl', pipeline=_base_.real7k_train_pipeline, **crops))
test_dataloader = dict(
    dataset=dict(
        ann_file='0_test.jsonl', test_mode=True, pipeline=_base_.real7k_test_pipeline, **crops))
val_dataloader = test_dataloader

val_evaluator = dict(_delete_=True, **_base_.mini_any_script_evaluator)
test_evaluator = val_evaluator
