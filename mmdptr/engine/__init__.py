# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""What ties the stages together."""

from .decoder_loading import Coverage, load_decoder
from .hooks import DPTRExportHook, DPTRPretrainHook, NonFiniteLossHook

__all__ = [
    "Coverage",
    "DPTRExportHook",
    "DPTRPretrainHook",
    "NonFiniteLossHook",
    "load_decoder",
]
