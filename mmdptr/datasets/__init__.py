# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Corpora and the dataset of text embeddings."""

from .concat_collate import concat_collate
from .corpora import iter_corpora, iter_corpus
from .filter_report import FilterReport
from .label_filter import LabelFilter
from .text_embedding_dataset import TextEmbeddingDataset
from .transforms import ORP, PackTextEmbeddings

__all__ = [
    "ORP",
    "FilterReport",
    "LabelFilter",
    "PackTextEmbeddings",
    "TextEmbeddingDataset",
    "concat_collate",
    "iter_corpora",
    "iter_corpus",
]
