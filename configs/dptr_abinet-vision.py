# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# Both stages of DPTR for ABINet without its language model.
_base_ = ['mmocr::textrecog/abinet/abinet-vision_20e_st-an_mj.py', '_base_/abinet_pipeline.py']
custom_imports = dict(imports=['mmdptr'], allow_failed_imports=False)

embeddings = 'data/dptr/words'
orp_bank = 'data/dptr/backgrounds'

model = dict(type='DPTRRecognizer', neck=dict(type='FMU'))
train_dataloader = dict(dataset=dict(pipeline=_base_.abinet_train_pipeline))
# At lower rates its attention begins to tell slots apart only after thousands of steps.
custom_hooks = [
    dict(
        type='DPTRPretrainHook',
        embeddings=embeddings,
        orp_bank=orp_bank,
        cfg_options={'optim_wrapper.optimizer.lr': 3e-3}),
    dict(type='NonFiniteLossHook'),
]
# At the full rate it forgets before the FMU has found what it reads.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'decoder': dict(lr_mult=0.1)}))
