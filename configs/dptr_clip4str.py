# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# CLIP4STR whose two decoders begin with what DPTR taught one: its text embeddings are of the space
# that both branches read. Extract them with --joint-space. An FMU gives both the slots that
# pre-trained decoders know.
_base_ = ['clip4str_vit-b16.py']

embeddings = 'data/dptr/words'
orp_bank = 'data/dptr/backgrounds'

model = dict(backbone=dict(class_token=False), neck=dict(type='FMU'))

custom_hooks = [
    dict(
        type='DPTRPretrainHook',
        embeddings=embeddings,
        orp_bank=orp_bank,
        twins=['cross_decoder']),
    dict(type='NonFiniteLossHook'),
]
# The decoders know something already: a tenth of the rate. The FMU does not.
rates = _base_.optim_wrapper.paramwise_cfg.custom_keys
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            'neck': dict(lr_mult=19.),
            'neck.queries': dict(lr_mult=19., decay_mult=0.),
            'neck.norm': dict(lr_mult=19., decay_mult=0.),
            **{name: dict(lr_mult=1.9) for name in rates if 'lr_mult' in rates[name]},
        }))
