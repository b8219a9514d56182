# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# Both stages of DPTR for CRNN.
_base_ = ['mmocr::textrecog/crnn/crnn_mini-vgg_5e_mj.py']
custom_imports = dict(imports=['mmdptr'], allow_failed_imports=False)

embeddings = 'data/dptr/words'
orp_bank = 'data/dptr/backgrounds'

# MMOCR's default of 40 would cost 80 slots; 25 characters are what the others read, too.
model = dict(
    type='DPTRRecognizer', decoder=dict(max_seq_len=25), neck=dict(type='FMU', num_layers=2))
custom_hooks = [
    dict(type='DPTRPretrainHook', embeddings=embeddings, orp_bank=orp_bank, typeset=True),
    dict(type='NonFiniteLossHook'),
]
