# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Hooks of MMEngine's runner."""

from .dptr_export_hook import DPTRExportHook
from .dptr_pretrain_hook import DPTRPretrainHook
from .epoch_seed_hook import EpochSeedHook
from .freeze_hook import FreezeHook
from .non_finite_loss_hook import NonFiniteLossHook

__all__ = [
    "DPTRExportHook",
    "DPTRPretrainHook",
    "EpochSeedHook",
    "FreezeHook",
    "NonFiniteLossHook",
]
