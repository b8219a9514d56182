# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# Stage 2 alone, from the decoder of configs/pretrain/dptr_pretrain_nrtr.py, as in the paper:
# encoder and FMU begin untrained.
_base_ = ['dptr_nrtr.py']

pretrained_decoder = 'work_dirs/dptr_pretrain_nrtr/decoder.pth'

custom_hooks = [
    dict(type='DPTRPretrainHook', checkpoint=pretrained_decoder),
    dict(type='NonFiniteLossHook'),
]
