# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Where text embeddings come from: a store, or a CLIP at work."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from mmdptr.embeddings import TextEmbeddingStore


class TextEmbeddings(Protocol):
    """What training needs of text embeddings; :class:`TextEmbeddingStore` documents it."""

    manifest: dict[str, Any]

    def __len__(self) -> int: ...

    @property
    def config(self) -> str | dict[str, Any]: ...  # noqa: D102

    @property
    def folder(self) -> str | Path: ...  # noqa: D102

    @property
    def width(self) -> int: ...  # noqa: D102

    @property
    def keeps_padding(self) -> bool: ...  # noqa: D102

    def label(self, index: int) -> str: ...  # noqa: D102

    def label_hashes(self) -> np.ndarray: ...  # noqa: D102

    def memories(  # noqa: D102
        self, indices: Sequence[int], with_prefix: bool = False
    ) -> list[tuple[Tensor, Tensor]]: ...


def open_text_embeddings(
    embeddings: str | Path | dict[str, Any], verify_checksums: bool = True
) -> TextEmbeddings:
    """Open a store, or put a CLIP to work.

    Args:
        embeddings (str, Path or dict): Folder of a store, or the arguments of a
            :class:`LiveTextEmbeddings`, such as ``dict(corpora=['words.txt'])``.
        verify_checksums (bool): Whether to verify a store first. Defaults to True.
    """
    if isinstance(embeddings, dict):
        # open_clip takes seconds to import, and a store does without.
        from mmdptr.extraction.live_text_embeddings import LiveTextEmbeddings

        return LiveTextEmbeddings.shared(**embeddings)
    return TextEmbeddingStore(embeddings, verify_checksums)
