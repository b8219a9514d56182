# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# DPTR-NRTR for Chinese, small enough for two CPU cores: with the characters of the 5,000 most
# frequent words.
_base_ = ['../_base_/language_mini.py']

root = 'data/chinese'
dict_file = '{{ fileDirname }}/../_base_/dicts/chinese-common.txt'

model = dict(decoder=dict(dictionary=dict(dict_file=dict_file)))
train_dataloader = dict(dataset=dict(data_root=root))
test_dataloader = dict(dataset=dict(data_root=root))
val_dataloader = test_dataloader
custom_hooks = [
    dict(_base_.mini_typeset_hook, embeddings=f'{root}/embeddings', epochs=8),
    dict(type='NonFiniteLossHook'),
]
