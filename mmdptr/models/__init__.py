# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Models: memory layouts, the FMU, recognizers and the pre-trainer."""

from .backbones import CLIPVisionBackbone, ConvStem, ViT
from .data_preprocessors import TextEmbeddingPreprocessor, TypesetPreprocessor, mix_slots
from .decoders import (
    CachedASTERDecoder,
    CachedMasterDecoder,
    CachedNRTRDecoder,
    CachedParallelSARDecoder,
    NRTRMapDecoder,
    PARSeqDecoder,
    StatefulSARDecoder,
)
from .encoders import CLIPTextBranch
from .losses import DPTRLoss, PARSeqLoss
from .memory import MemoryLayout, find_memory_layout, register_memory_layout
from .necks import FMU
from .pretrainers import DPTRPretrainer, TypesetPretrainer
from .recognizers import CLIP4STR, DPTRRecognizer, PARSeq

__all__ = [
    "CLIP4STR",
    "FMU",
    "CLIPTextBranch",
    "CLIPVisionBackbone",
    "CachedASTERDecoder",
    "CachedMasterDecoder",
    "CachedNRTRDecoder",
    "CachedParallelSARDecoder",
    "ConvStem",
    "DPTRLoss",
    "DPTRPretrainer",
    "DPTRRecognizer",
    "MemoryLayout",
    "NRTRMapDecoder",
    "PARSeq",
    "PARSeqDecoder",
    "PARSeqLoss",
    "StatefulSARDecoder",
    "TextEmbeddingPreprocessor",
    "TypesetPreprocessor",
    "TypesetPretrainer",
    "ViT",
    "find_memory_layout",
    "mix_slots",
    "register_memory_layout",
]
