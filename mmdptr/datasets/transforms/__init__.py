# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Transforms of text embeddings."""

from .orp import ORP
from .pack_text_embeddings import PackTextEmbeddings

__all__ = ["ORP", "PackTextEmbeddings"]
