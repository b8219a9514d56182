# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Losses."""

from .dptr_loss import DPTRLoss
from .parseq_loss import PARSeqLoss

__all__ = ["DPTRLoss", "PARSeqLoss"]
