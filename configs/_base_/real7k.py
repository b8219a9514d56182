# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# Protocol real-7k: 6,725 real training crops, four test sets; tools/prepare_real7k.py writes the
# annotations. Names start with real7k_, so that this file can stand beside any recipe.
real7k_root = '{{$MMDPTR_REAL7K:data/real7k}}'
real7k_names = ['IIIT5K', 'SVT', 'IC13', 'IC15']

real7k_train_pipeline = [
    dict(type='LoadImageFromFile', ignore_empty=True, min_size=2),
    dict(type='LoadOCRAnnotations', with_text=True),
    dict(type='Resize', scale=(128, 32)),
    # A few thousand crops are soon known by heart; like ABINet's recipe, but milder, and fast, for
    # there are two cores for everything.
    dict(
        type='TorchVisionWrapper',
        op='RandomAffine',
        degrees=4,
        translate=(0.03, 0.05),
        scale=(0.88, 1.1),
        shear=15,
        interpolation=2,  # bilinear
        fill=127),
    dict(
        type='TorchVisionWrapper',
        op='ColorJitter',
        brightness=0.4,
        contrast=0.4,
        saturation=0.4),
    dict(type='TorchVisionWrapper', op='RandomInvert', p=0.3),
    dict(
        type='PackTextRecogInputs',
        meta_keys=('img_path', 'ori_shape', 'img_shape', 'valid_ratio'))
]
real7k_test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(128, 32)),
    dict(type='LoadOCRAnnotations', with_text=True),
    dict(
        type='PackTextRecogInputs',
        meta_keys=('img_path', 'ori_shape', 'img_shape', 'valid_ratio'))
]

real7k_train_dataset = dict(
    type='RecogTextDataset',
    data_root=real7k_root,
    ann_file='train.jsonl',
    parser_cfg=dict(type='LineJsonParser', keys=['filename', 'text']),
    pipeline=real7k_train_pipeline)
real7k_test_dataset = dict(
    type='ConcatDataset',
    datasets=[
        dict(
            type='RecogTextDataset',
            data_root=real7k_root,
            ann_file=f'test_{name.lower()}.jsonl',
            parser_cfg=dict(type='LineJsonParser', keys=['filename', 'text']),
            test_mode=True,
            pipeline=None) for name in real7k_names
    ],
    pipeline=real7k_test_pipeline)
