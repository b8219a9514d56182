# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# What the configs of languages share: NRTR with DPTR, labels in lower case, classes that may be
# grapheme clusters, annotations as jsonl files of {"filename": ..., "text": ...}.
_base_ = ['../dptr_nrtr.py']

model = dict(
    decoder=dict(
        dictionary=dict(type='GraphemeDictionary'), module_loss=dict(letter_case='lower')))

language_dataset = dict(
    type='RecogTextDataset', parser_cfg=dict(type='LineJsonParser', keys=['filename', 'text']))
train_dataloader = dict(
    num_workers=8,
    dataset=dict(
        _delete_=True,
        ann_file='train.jsonl',
        pipeline=_base_.train_pipeline,
        **language_dataset))
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        ann_file='test.jsonl',
        test_mode=True,
        pipeline=_base_.test_pipeline,
        **language_dataset))
val_dataloader = test_dataloader

# MMOCR's other modes and metrics leave out all characters that are not Latin or Chinese.
val_evaluator = dict(
    _delete_=True,
    type='Evaluator',
    metrics=[
        dict(type='WordMetric', mode=['exact', 'ignore_case']),
        dict(type='OneMinusNEDMetric', valid_symbol=r'\s'),
    ])
test_evaluator = val_evaluator

language_pretrain_hook = dict(type='DPTRPretrainHook', orp_bank=_base_.orp_bank, typeset=True)
