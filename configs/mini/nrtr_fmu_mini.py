# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# Control: NRTR from scratch with the FMU, in as many steps.
_base_ = ['dptr_nrtr_mini.py']

custom_hooks = [dict(type='NonFiniteLossHook')]
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'decoder': dict(lr_mult=1.)}))
