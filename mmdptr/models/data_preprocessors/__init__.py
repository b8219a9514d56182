# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Data preprocessors."""

from .slot_mixing import mix_slots
from .text_embedding_preprocessor import TextEmbeddingPreprocessor

__all__ = ["TextEmbeddingPreprocessor", "mix_slots"]
