# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# One model for all the languages here, and for Cyrillic, Hebrew, Tamil and Telugu.
_base_ = ['../_base_/language.py']

root = 'data/all-scripts'
dict_file = '{{ fileDirname }}/../_base_/dicts/all-scripts.txt'

model = dict(decoder=dict(dictionary=dict(dict_file=dict_file)))
train_dataloader = dict(dataset=dict(data_root=root))
test_dataloader = dict(dataset=dict(data_root=root))
val_dataloader = test_dataloader
custom_hooks = [
    dict(_base_.language_pretrain_hook, embeddings=f'{root}/embeddings'),
    dict(type='NonFiniteLossHook'),
]
