# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Backbones."""

from .narrow_modality_transform import NarrowModalityTransform

__all__ = ["NarrowModalityTransform"]
