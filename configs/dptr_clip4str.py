# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# CLIP4STR with DPTR: an FMU before both branches, and two decoders that begin with what typeset
# text taught one. Extract the text embeddings with --joint-space and --spelling characters.
_base_ = ['clip4str_vit-b16.py']

embeddings = 'data/dptr/words'
orp_bank = 'data/dptr/backgrounds'

model = dict(backbone=dict(class_token=False), neck=dict(type='FMU', num_layers=2))

custom_hooks = [
    dict(
        type='DPTRPretrainHook',
        embeddings=embeddings,
        orp_bank=orp_bank,
        typeset=True,
        twins=['cross_decoder']),
    dict(type='NonFiniteLossHook'),
]
# The FMU learns as fast as the decoders, and what does not decay in them does not in it.
rate, rate_without_decay = _base_.decoders, _base_.decoders_without_decay
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            'neck': rate,
            'neck.queries': rate_without_decay,
            'neck.norm': rate_without_decay,
            'neck.layers.norm': rate_without_decay,
            'neck.layers.layers.0.norm': rate_without_decay,
            'neck.layers.layers.1.norm': rate_without_decay,
        }))
