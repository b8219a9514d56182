# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Data preprocessors."""

from .text_embedding_preprocessor import TextEmbeddingPreprocessor

__all__ = ["TextEmbeddingPreprocessor"]
