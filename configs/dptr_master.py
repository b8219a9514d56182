# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# Both stages of DPTR for MASTER.
_base_ = ['mmocr::textrecog/master/master_resnet31_12e_st_mj_sa.py']
custom_imports = dict(imports=['mmdptr'], allow_failed_imports=False)

embeddings = 'data/dptr/words'
orp_bank = 'data/dptr/backgrounds'

model = dict(
    type='DPTRRecognizer',
    neck=dict(type='FMU', num_layers=2),
    decoder=dict(type='CachedMasterDecoder'))
custom_hooks = [
    dict(type='DPTRPretrainHook', embeddings=embeddings, orp_bank=orp_bank, typeset=True),
    dict(type='NonFiniteLossHook'),
]
