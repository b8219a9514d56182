# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# CLIP4STR-B (arXiv 2305.14014): CLIP ViT-B/16 with OpenAI's weights, two decoders of one layer. On
# MMOCR's MJ and ST; for the paper's real data change data roots and epochs. No DPTR in it.
_base_ = ['mmocr::textrecog/nrtr/nrtr_modality-transform_6e_st_mj.py', '_base_/clip_images.py']
custom_imports = dict(imports=['mmdptr'], allow_failed_imports=False)

width = 512
parseq = dict(
    type='PARSeqDecoder',
    d_model=width,
    n_head=8,
    d_inner=4 * width,
    dictionary=_base_.dictionary,
    module_loss=dict(type='PARSeqLoss'),
    postprocessor=dict(type='AttentionPostprocessor'))
model = dict(
    _delete_=True,
    type='CLIP4STR',
    data_preprocessor=_base_.clip_images_preprocessor,
    backbone=dict(type='CLIPVisionBackbone', class_token=True),
    text_encoder=dict(type='CLIPTextBranch'),
    decoder=parseq,
    cross_decoder=parseq)

train_dataloader = dict(
    batch_size=128, dataset=dict(pipeline=_base_.clip_images_train_pipeline))
test_dataloader = dict(batch_size=128, dataset=dict(pipeline=_base_.clip_images_test_pipeline))
val_dataloader = test_dataloader

custom_hooks = [dict(type='NonFiniteLossHook')]
# The paper's rates for a batch of 512, that of four GPUs. MMEngine gives a parameter what
# the longest of these names says that is part of its own, and nothing else.
decoders = dict(lr_mult=19.)
decoders_without_decay = dict(lr_mult=19., decay_mult=0.)
optim_wrapper = dict(
    optimizer=dict(
        _delete_=True, type='AdamW', lr=8.4e-5, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.2),
    clip_grad=dict(max_norm=20),
    paramwise_cfg=dict(
        norm_decay_mult=0.,
        bias_decay_mult=0.,
        custom_keys={
            'decoder': decoders,
            'decoder.embedding': decoders_without_decay,
            'decoder.places': decoders_without_decay,
            'decoder.norm': decoders_without_decay,
            'query_norm': decoders_without_decay,
            'content_norm': decoders_without_decay,
            'memory_norm': decoders_without_decay,
            'feedforward_norm': decoders_without_decay,
            '_embedding': dict(decay_mult=0.),
        }))
# The authors' scripts (VamosC/CLIP4STR, vl4str) train 7 epochs on MJ and ST, 16 on real data, both
# in batches of 1024: eight GPUs, and --auto-scale-lr. The rate rises in 7.5 % of the time.
epochs = 7
warm_up = 0.075 * epochs
train_cfg = dict(max_epochs=epochs)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=0.04,
        end=warm_up,
        by_epoch=True,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        begin=warm_up,
        end=epochs,
        eta_min=0,
        by_epoch=True,
        convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size=512)
