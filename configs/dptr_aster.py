# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# Both stages of DPTR for ASTER.
_base_ = ['mmocr::textrecog/aster/aster_resnet45_6e_st_mj.py']
custom_imports = dict(imports=['mmdptr'], allow_failed_imports=False)

embeddings = 'data/dptr/words'
orp_bank = 'data/dptr/backgrounds'

# The FMU stands in the place of ASTER's BiLSTM.
model = dict(
    type='DPTRRecognizer',
    neck=dict(type='FMU', num_layers=2),
    decoder=dict(type='CachedASTERDecoder'))
custom_hooks = [
    dict(type='DPTRPretrainHook', embeddings=embeddings, orp_bank=orp_bank, typeset=True),
    dict(type='NonFiniteLossHook'),
]
