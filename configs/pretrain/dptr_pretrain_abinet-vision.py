# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# Stage 1 alone: ABINet's vision decoder on text. Writes <work_dir>/decoder.pth.
_base_ = [
    'mmocr::textrecog/abinet/_base_abinet-vision.py',
    '../_base_/dptr_pretrain.py',
]

model = dict(
    _delete_=True,
    type='DPTRPretrainer',
    decoder=_base_.model.decoder,
    embed_dims=512)

labels = dict(dictionary=_base_.dictionary, max_seq_len=_base_.model.decoder.max_seq_len)
train_dataloader = dict(dataset=labels)
val_dataloader = dict(dataset=labels)
# At lower rates its attention begins to tell slots apart only after thousands of steps.
optim_wrapper = dict(optimizer=dict(lr=3e-3))
