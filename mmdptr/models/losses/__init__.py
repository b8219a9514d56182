# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Losses."""

from .dptr_loss import DPTRLoss

__all__ = ["DPTRLoss"]
