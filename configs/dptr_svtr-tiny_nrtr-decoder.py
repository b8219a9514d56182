# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# Both stages of DPTR for SVTR-tiny with an NRTR decoder of its width in place of the CTC head.
_base_ = [
    'mmocr::textrecog/svtr/svtr-tiny_20e_st_mj.py',
    '_base_/svtr_nrtr_decoder.py',
]
custom_imports = dict(imports=['mmdptr'], allow_failed_imports=False)

embeddings = 'data/dptr/words'
orp_bank = 'data/dptr/backgrounds'

width = 192
decoder = dict(
    d_embedding=width,
    d_model=width,
    n_head=width // 32,
    d_inner=4 * width,
    **_base_.nrtr_decoder)
model = dict(
    type='DPTRRecognizer',
    neck=dict(type='FMU', num_layers=2),
    decoder=dict(_delete_=True, **decoder))
custom_hooks = [
    dict(type='DPTRPretrainHook', embeddings=embeddings, orp_bank=orp_bank, typeset=True),
    dict(type='NonFiniteLossHook'),
]
