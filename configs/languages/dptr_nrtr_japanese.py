# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# Japanese.
_base_ = ['../_base_/language.py']

root = 'data/japanese'
dict_file = '{{ fileDirname }}/../_base_/dicts/japanese.txt'

model = dict(decoder=dict(dictionary=dict(dict_file=dict_file)))
train_dataloader = dict(dataset=dict(data_root=root))
test_dataloader = dict(dataset=dict(data_root=root))
val_dataloader = test_dataloader
custom_hooks = [
    dict(_base_.language_pretrain_hook, embeddings=f'{root}/embeddings'),
    dict(type='NonFiniteLossHook'),
]
