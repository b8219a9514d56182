# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Backbones."""

from .conv_stem import ConvStem
from .vit import ViT

__all__ = ["ConvStem", "ViT"]
