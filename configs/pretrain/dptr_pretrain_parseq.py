# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# Stage 1 alone: PARSeq's decoder on text. Writes <work_dir>/decoder.pth.
_base_ = [
    'mmocr::textrecog/nrtr/_base_nrtr_modality-transform.py',
    '../_base_/dptr_pretrain.py',
]

decoder = dict(
    type='PARSeqDecoder',
    dictionary=_base_.dictionary,
    module_loss=dict(type='PARSeqLoss'),
    postprocessor=dict(type='AttentionPostprocessor'))
model = dict(_delete_=True, type='DPTRPretrainer', decoder=decoder, embed_dims=512)

labels = dict(dictionary=_base_.dictionary, max_seq_len=27)
train_dataloader = dict(dataset=labels)
val_dataloader = dict(dataset=labels)
