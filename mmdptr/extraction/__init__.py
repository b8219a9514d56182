# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Writing stores and banks: ties corpora and CLIP to what is read in training."""

from .live_text_embeddings import LiveTextEmbeddings
from .orp_bank import extract_orp_bank, find_images
from .text_embeddings import extract_text_embeddings

__all__ = ["LiveTextEmbeddings", "extract_orp_bank", "extract_text_embeddings", "find_images"]
