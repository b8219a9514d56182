# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# Control: the FMU's queries start from the slot prior, but the decoder is untrained.
_base_ = ['dptr_nrtr_mini.py']

custom_hooks = [
    dict(
        type='DPTRPretrainHook',
        embeddings=_base_.embeddings,
        orp_bank=_base_.orp_bank,
        epochs=2,
        cfg_options={'optim_wrapper.optimizer.lr': 1.5e-3},
        pretrain_dir=_base_.pretrain_dir,
        load=['slot_prior']),
    dict(type='NonFiniteLossHook'),
]
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'decoder': dict(lr_mult=1.)}))
