# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# Both stages of DPTR for ASTER.
_base_ = ['mmocr::textrecog/aster/aster_resnet45_6e_st_mj.py']
custom_imports = dict(imports=['mmdptr'], allow_failed_imports=False)

embeddings = 'data/dptr/words'
orp_bank = 'data/dptr/backgrounds'

# FMU and decoder stay as they are while the backbone learns to show them what they know.
model = dict(type='DPTRRecognizer', neck=dict(type='FMU', num_layers=2))
custom_hooks = [
    dict(type='DPTRPretrainHook', embeddings=embeddings, orp_bank=orp_bank, typeset=True),
    dict(type='FreezeHook', iters=1000, parts=('neck', 'decoder')),
    dict(type='NonFiniteLossHook'),
]
find_unused_parameters = True  # for DistributedDataParallel, which waits for frozen ones
