# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# Images as CLIP saw them: 224x224 whatever their shape, OpenAI's mean and standard deviation.
clip_images_preprocessor = dict(
    type='TextRecogDataPreprocessor',
    mean=[122.7709383, 116.7460125, 104.09373615],
    std=[68.5005327, 66.6321579, 70.32316305],
    bgr_to_rgb=True)

clip_images_train_pipeline = [
    dict(type='LoadImageFromFile', ignore_empty=True, min_size=2),
    dict(type='LoadOCRAnnotations', with_text=True),
    dict(type='TorchVisionWrapper', op='RandAugment', num_ops=3, magnitude=5),
    dict(type='Resize', scale=(224, 224), interpolation='bicubic', backend='pillow'),
    dict(
        type='PackTextRecogInputs',
        meta_keys=('img_path', 'ori_shape', 'img_shape', 'valid_ratio')),
]
clip_images_test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(224, 224), interpolation='bicubic', backend='pillow'),
    dict(type='LoadOCRAnnotations', with_text=True),
    dict(
        type='PackTextRecogInputs',
        meta_keys=('img_path', 'ori_shape', 'img_shape', 'valid_ratio')),
]
