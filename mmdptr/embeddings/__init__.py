# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""What is written once and read often; knows neither CLIP nor MMOCR."""

from .orp_bank import ORPBank, ORPBankWriter
from .sharded_folder import DamagedStoreError, manifest_hash
from .text_embedding_store import TextEmbeddingStore
from .text_embedding_writer import TextEmbeddingWriter

__all__ = [
    "DamagedStoreError",
    "ORPBank",
    "ORPBankWriter",
    "TextEmbeddingStore",
    "TextEmbeddingWriter",
    "manifest_hash",
]
