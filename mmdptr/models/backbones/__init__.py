# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Backbones."""

from .clip_vision_backbone import CLIPVisionBackbone
from .conv_stem import ConvStem
from .vit import ViT

__all__ = ["CLIPVisionBackbone", "ConvStem", "ViT"]
