# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""What ties the stages together."""

from .bf16_optim_wrapper import BF16OptimWrapper
from .decoder_loading import Coverage, load_decoder
from .hooks import DPTRExportHook, DPTRPretrainHook, EpochSeedHook, FreezeHook, NonFiniteLossHook

__all__ = [
    "BF16OptimWrapper",
    "Coverage",
    "DPTRExportHook",
    "DPTRPretrainHook",
    "EpochSeedHook",
    "FreezeHook",
    "NonFiniteLossHook",
    "load_decoder",
]
