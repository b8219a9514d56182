# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# Both stages: the decoder is pre-trained on text by the hook, then NRTR is fine-tuned on images.
_base_ = ['mmocr::textrecog/nrtr/nrtr_modality-transform_6e_st_mj.py']
custom_imports = dict(imports=['mmdptr'], allow_failed_imports=False)

embeddings = 'data/dptr/words'
orp_bank = 'data/dptr/backgrounds'

model = dict(
    type='DPTRRecognizer',
    neck=dict(type='FMU'),
    decoder=dict(type='CachedNRTRDecoder'))
custom_hooks = [
    dict(type='DPTRPretrainHook', embeddings=embeddings, orp_bank=orp_bank, typeset=True),
    dict(type='NonFiniteLossHook'),
]
