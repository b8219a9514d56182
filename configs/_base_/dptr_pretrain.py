# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# Stage 1 of DPTR: everything but the model. DPTRPretrainHook fills in the recognizer's decoder,
# the store and the bank; configs/pretrain/ shows how to run it apart.
_base_ = ['mmocr::textrecog/_base_/default_runtime.py']
custom_imports = dict(imports=['mmdptr'], allow_failed_imports=False)

embeddings = 'data/dptr/words'
orp_bank = 'data/dptr/backgrounds'

train_dataloader = dict(
    batch_size=256,
    num_workers=2,
    persistent_workers=False,  # each epoch begins with seeds of its own
    collate_fn=dict(type='concat_collate'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='TextEmbeddingDataset',
        embeddings=embeddings,
        split='train',
        pipeline=[
            dict(type='ORP', bank=orp_bank, scale=0.1),
            dict(type='PackTextEmbeddings'),
        ]))

# Words that training never sees: how well they are spelled is the health figure of stage 1.
val_dataloader = dict(
    batch_size=256,
    num_workers=1,
    persistent_workers=True,
    collate_fn=dict(type='concat_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='TextEmbeddingDataset',
        embeddings=embeddings,
        split='val',
        max_samples=2000,
        pipeline=[dict(type='PackTextEmbeddings')]))
val_evaluator = dict(
    _delete_=True,
    type='Evaluator',
    metrics=[
        dict(type='WordMetric', mode=['exact'], prefix='spelling'),
        dict(type='CharMetric', valid_symbol=r'\s', prefix='spelling'),
    ])
test_evaluator = None

# Like the authors' public configs: AdamW without weight decay, 20 epochs, a short warm-up, cosine.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=7e-4, weight_decay=0.),
    clip_grad=dict(max_norm=20))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=20, val_interval=1)
val_cfg = dict(type='ValLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, end=1, by_epoch=True, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min=0,
        begin=1,
        end=20,
        by_epoch=True,
        convert_to_iter_based=True),
]

# Two: MMEngine deletes the old one before it writes the new one, and may be killed in between.
default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=2))
custom_hooks = [
    dict(type='EpochSeedHook'),  # resumed, it ends with the same bits
    dict(type='NonFiniteLossHook'),
    dict(type='DPTRExportHook'),
]
