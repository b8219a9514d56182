# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# Control: MMOCR's NRTR from scratch, without FMU, in as many steps.
_base_ = ['dptr_nrtr_mini.py']

model = dict(neck=None)
custom_hooks = [dict(type='NonFiniteLossHook')]
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'decoder': dict(lr_mult=1.)}))
