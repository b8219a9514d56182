# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Writing stores and banks: ties corpora and CLIP to what is read in training."""

from .orp_bank import extract_orp_bank, find_images
from .text_embeddings import extract_text_embeddings

__all__ = ["extract_orp_bank", "extract_text_embeddings", "find_images"]
