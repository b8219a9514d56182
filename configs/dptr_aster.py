# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# Both stages of DPTR for ASTER.
_base_ = ['mmocr::textrecog/aster/aster_resnet45_6e_st_mj.py']
custom_imports = dict(imports=['mmdptr'], allow_failed_imports=False)

embeddings = 'data/dptr/words'
orp_bank = 'data/dptr/backgrounds'

model = dict(
    type='DPTRRecognizer',
    neck=dict(type='FMU'),
    decoder=dict(type='CachedASTERDecoder'))
custom_hooks = [
    dict(type='DPTRPretrainHook', embeddings=embeddings, orp_bank=orp_bank),
    dict(type='NonFiniteLossHook'),
]
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'decoder': dict(lr_mult=0.1)}))
