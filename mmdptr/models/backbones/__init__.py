# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Backbones."""

from .conv_stem import ConvStem

__all__ = ["ConvStem"]
