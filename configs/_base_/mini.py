# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# What the mini variants share: protocol real-7k, 36 characters, a schedule for two CPU cores. All
# names start with mini_ or real7k_, so that this file can stand beside any recipe, which takes the
# place of its own settings by these.
_base_ = ['real7k.py']

mini_dictionary = dict(dict_file='{{ fileDirname }}/dicts/lower_english_digits.txt')

mini_train_dataloader = dict(
    batch_size=128,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=_base_.real7k_train_dataset)
mini_test_dataloader = dict(
    batch_size=128,
    num_workers=1,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=_base_.real7k_test_dataset)
mini_evaluator = dict(
    type='MultiDatasetsEvaluator',
    metrics=[dict(type='WordMetric', mode=['ignore_case_symbol'])],
    dataset_prefixes=_base_.real7k_names)
# MMOCR's other modes and metrics leave out all characters that are not Latin or Chinese.
mini_any_script_evaluator = dict(
    type='Evaluator',
    metrics=[
        dict(type='WordMetric', mode=['ignore_case']),
        dict(type='OneMinusNEDMetric', valid_symbol=r'\s'),
    ])

mini_iters = 1500
mini_train_cfg = dict(type='IterBasedTrainLoop', max_iters=mini_iters, val_interval=mini_iters)
# Not OneCycleLR: MMEngine's gives all parameters one rate, which would undo the multiplier.
mini_optimizer = dict(type='AdamW', lr=2e-3, weight_decay=0.01)
mini_clip_grad = dict(max_norm=20)
# For what text has taught, where that reads more of held-out crops (docs/trials.md).
mini_typeset_rates = dict(
    custom_keys={part: dict(lr_mult=0.3) for part in ('encoder', 'neck', 'decoder')})
mini_param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, end=100, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=0, begin=100, end=mini_iters, by_epoch=False),
]
mini_default_hooks = dict(
    logger=dict(type='LoggerHook', interval=50),
    # Two: MMEngine deletes the old one before it writes the new one, and may be killed in between.
    checkpoint=dict(by_epoch=False, interval=500, max_keep_ckpts=2))

# One cache of decoders for all mini runs: stage 1 of a decoder is run once.
mini_pretrain_hook = dict(
    type='DPTRPretrainHook',
    embeddings='data/dptr/words',
    orp_bank='data/dptr/backgrounds',
    epochs=2,
    cfg_options={'optim_wrapper.optimizer.lr': 1.5e-3},
    pretrain_dir='work_dirs/dptr_pretrain_mini')
mini_custom_hooks = [mini_pretrain_hook, dict(type='NonFiniteLossHook')]
mini_typeset_hook = dict(mini_pretrain_hook, typeset=True, epochs=3)
mini_typeset_hooks = [mini_typeset_hook, dict(type='NonFiniteLossHook')]
# CTC finds out late which slot stands for what, then learns fast: it needs many steps.
mini_ctc_options = {**mini_pretrain_hook['cfg_options'], 'train_dataloader.batch_size': 64}
mini_ctc_hooks = [
    dict(mini_typeset_hook, cfg_options=mini_ctc_options),
    dict(type='NonFiniteLossHook'),
]
