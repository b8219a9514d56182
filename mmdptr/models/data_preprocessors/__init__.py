# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Data preprocessors."""

from .slot_mixing import mix_slots
from .text_embedding_preprocessor import TextEmbeddingPreprocessor
from .typeset_preprocessor import TypesetPreprocessor
from .typesetting import typeset

__all__ = ["TextEmbeddingPreprocessor", "TypesetPreprocessor", "mix_slots", "typeset"]
