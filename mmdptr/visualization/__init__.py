# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Pictures of attention and of training."""

from .curves import draw_curves
from .fmu_attention import Reading, draw_fmu_attention

__all__ = ["Reading", "draw_curves", "draw_fmu_attention"]
