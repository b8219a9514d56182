# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Models of stage 1."""

from .dptr_pretrainer import DPTRPretrainer
from .slot_prior import SlotPrior
from .typeset_pretrainer import TypesetPretrainer

__all__ = ["DPTRPretrainer", "SlotPrior", "TypesetPretrainer"]
