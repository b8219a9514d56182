# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Recognizers."""

from .dptr_recognizer import DPTRRecognizer
from .parseq import PARSeq

__all__ = ["DPTRRecognizer", "PARSeq"]
