# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# DPTR-PARSeq as in the paper and the authors' public code: a decoder of six layers of width 512,
# all 78 tokens of the memory, one set of noise positions a batch, 26 queries that start at random,
# and one learning rate for all. Extract the text embeddings with --keep-padding.
_base_ = ['parseq_vit-small.py']

embeddings = 'data/dptr/words_with_padding'
orp_bank = 'data/dptr/backgrounds'

width = 512
model = dict(
    type='DPTRRecognizer',
    with_position=False,
    backbone=dict(embed_dim=width, num_heads=8),
    decoder=dict(d_model=width, n_layers=6, n_head=8, d_inner=4 * width),
    neck=dict(type='FMU', num_queries=26))

learning_rate = 1.485e-3
custom_hooks = [
    dict(
        type='DPTRPretrainHook',
        embeddings=embeddings,
        orp_bank=orp_bank,
        noise_scale=0.1,
        load=['decoder'],
        cfg_options={
            'model.with_position': False,
            'model.data_preprocessor.type': 'TextEmbeddingPreprocessor',
            'train_dataloader.dataset.pipeline.0.shared_positions': True,
            'optim_wrapper.optimizer.lr': learning_rate,
            'param_scheduler.0.end': 1.5,
            'param_scheduler.1.begin': 1.5,
        }),
    dict(type='NonFiniteLossHook'),
]
optim_wrapper = dict(optimizer=dict(lr=learning_rate))
