# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The image tower of clip-word-tiny, under a name of timm's, by which open_clip builds it."""

from functools import partial
from typing import Any

from timm.layers import ConvNormAct, HybridEmbed, build_sincos2d_pos_embed
from timm.models import VisionTransformer, build_model_with_cfg, register_model
from torch import nn

CHANNELS = (32, 64, 96, 128, 192)
STRIDES = ((2, 2), (2, 2), (2, 1), (2, 1), (2, 1))


@register_model
def word_vit_tiny(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    """Build a small vision transformer for words of 32x128 pixels.

    Convolutions make one row of 32 columns, in the order that words are read in. On some hundred
    thousand words a transformer over square patches has not yet learnt to see letters (Xiao et al.,
    "Early convolutions help transformers see better", NeurIPS 2021, is about the same).

    Args:
        pretrained (bool): Timm's switch; there are no weights by this name. Defaults to False.
        **kwargs: Arguments of timm's ``VisionTransformer``.
    """
    stages = [
        ConvNormAct(i, o, 3, stride=stride, padding=1)  # type: ignore[arg-type]  # takes pairs too
        for i, o, stride in zip((3, *CHANNELS), CHANNELS, STRIDES, strict=False)
    ]
    settings: dict[str, Any] = {
        "img_size": (32, 128),
        "patch_size": 1,  # of what the convolutions make
        "embed_dim": CHANNELS[-1],
        "depth": 4,
        "num_heads": 3,
        "class_token": False,
        "global_pool": "avg",
        "fc_norm": False,
        "embed_layer": partial(HybridEmbed, backbone=nn.Sequential(*stages), proj=False),
    }
    model = build_model_with_cfg(
        VisionTransformer, "word_vit_tiny", pretrained, **{**settings, **kwargs}
    )
    # As large as features are, and smooth: which place comes next is not left to be found out.
    positions = build_sincos2d_pos_embed(model.patch_embed.grid_size, model.embed_dim)
    model.pos_embed = nn.Parameter(positions[None])
    return model
