# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Recognizers."""

from .clip4str import CLIP4STR
from .dptr_recognizer import DPTRRecognizer
from .parseq import PARSeq

__all__ = ["CLIP4STR", "DPTRRecognizer", "PARSeq"]
