# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# Both stages of DPTR for PARSeq-S. Extract the text embeddings with --joint-space, so that tokens,
# pooled feature and noise live in one space, and --spelling characters, one token each.
_base_ = ['parseq_vit-small.py']

embeddings = 'data/dptr/words'
orp_bank = 'data/dptr/backgrounds'

model = dict(type='DPTRRecognizer', neck=dict(type='FMU', num_layers=2))

custom_hooks = [
    dict(type='DPTRPretrainHook', embeddings=embeddings, orp_bank=orp_bank, typeset=True),
    dict(type='NonFiniteLossHook'),
]
