# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# The NRTR decoder that stands behind SVTR's encoder, but for its width.
nrtr_decoder = dict(
    type='NRTRMapDecoder',
    n_layers=6,
    d_k=32,
    d_v=32,
    module_loss=dict(type='CEModuleLoss', ignore_first_char=True, letter_case='lower'),
    postprocessor=dict(type='AttentionPostprocessor'),
    dictionary=dict(
        type='Dictionary',
        dict_file='{{ fileDirname }}/dicts/lower_english_digits.txt',
        with_padding=True,
        with_unknown=True,
        same_start_end=True,
        with_start=True,
        with_end=True),
    max_seq_len=30)
