# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Reading a text-embedding store: pseudo visual memory of a corpus."""

import zlib
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor

from .row_file import RowFile
from .sharded_reader import ShardedReader

KIND = "text_embeddings"
PREFIX = "prefix"

POOLED = -1
"""int: Stands for the pooled feature where token ids are listed."""

OPEN_FILES = 256
"""int: Shards that stay open in a process; many systems allow 1024 open files."""


class TextEmbeddingStore(ShardedReader):
    """Reads a text-embedding store.

    A label's memory is its pooled feature followed by its own token features, of shape (L, D) with
    L = 1 + own tokens and D the width. Where the store was extracted with ``keep_padding``, the
    tokens reach to the end of CLIP's context.

    Nothing is read before it is asked for, and nothing stays: through a mapping, all that was ever
    read, and what lies around it, would count as this process's memory.

    Args:
        folder (str or Path): The folder that ``tools/extract_text_embeddings.py`` wrote.
        verify_checksums (bool or str): See :class:`ShardedReader`. Defaults to True.

    Raises:
        FileNotFoundError: No store there.
        DamagedStoreError: A file is missing or not what was written; the message names it.
        ValueError: Not complete, empty, of another kind or format version.
    """

    kind = KIND

    def _open(self) -> None:
        numbers = {k: entry["labels"] for k, entry in self.manifest["files"].items() if k != PREFIX}
        self._names = [name for name, number in numbers.items() if number]
        if not self._names:
            raise ValueError(f"{self.folder} holds no label. Extract from a corpus that has some.")
        self._shard_ends = list(accumulate(numbers[name] for name in self._names))
        prefix = self._shard(PREFIX)
        self.prefix, self._prefix_ids = prefix["features"], prefix["token_ids"]
        self._rows = lru_cache(OPEN_FILES)(self._open_rows)

    def _open_rows(self, shard: int) -> RowFile:
        return RowFile(self.folder / f"{self._names[shard]}.safetensors")

    def __len__(self) -> int:
        return self._shard_ends[-1]

    @property
    def config(self) -> str:
        """str: What a dataset opens it by again."""
        return str(self.folder)

    @property
    def width(self) -> int:
        """int: Width D of the features."""
        return self.prefix.shape[1]

    @property
    def keeps_padding(self) -> bool:
        """bool: Whether the features behind EOT are there."""
        return bool(self.manifest["source"]["keep_padding"])

    def label(self, index: int) -> str:
        """Return the label ``index``."""
        shard, row = self._place(index)
        span = self._span(shard, "text_ends", row)
        return self._read(shard, "text", *span, np.uint8).tobytes().decode()

    def labels(self) -> list[str]:
        """Return all labels."""
        return [self.label(index) for index in range(len(self))]

    def label_hashes(self) -> np.ndarray:
        """Return :func:`hash_labels` of all labels, without reading them."""
        sizes = np.diff(self._shard_ends, prepend=0)
        shards = [self._read(i, "hashes", 0, int(size)) for i, size in enumerate(sizes)]
        return np.concatenate(shards).view(np.uint32)

    def memory(self, index: int, with_prefix: bool = False) -> Tensor:
        """Return the memory of the label ``index``.

        Args:
            index (int): From 0 to the number of labels - 1.
            with_prefix (bool): Whether to put the prompt's prefix between the pooled feature and
                the own tokens. Defaults to False.

        Returns:
            Tensor: Of shape (L, D), float16, a copy.
        """
        return self.memories([index], with_prefix)[0][0]

    def token_ids(self, index: int, with_prefix: bool = False) -> Tensor:
        """Return the token ids of :meth:`memory`'s slots, ``POOLED`` first: int32 of shape (L,)."""
        return self.memories([index], with_prefix)[0][1]

    def memories(
        self, indices: Sequence[int], with_prefix: bool = False
    ) -> list[tuple[Tensor, Tensor]]:
        """Return :meth:`memory` and :meth:`token_ids` of several labels, much faster."""
        places = [self._place(index) for index in indices]
        spans = [self._span(shard, "ends", row) for shard, row in places]
        lengths = [end - begin for begin, end in spans]
        int8 = self.manifest["source"]["int8"]
        features = np.empty((sum(lengths), self.width), dtype=np.int8 if int8 else np.float16)
        ids = np.empty(len(features), dtype=np.int32)
        row_bytes, id_bytes = features.itemsize * self.width, ids.itemsize
        feature_view, id_view = features.data.cast("B"), ids.data.cast("B")
        at = 0
        for (shard, _), (begin, end) in zip(places, spans, strict=True):
            rows, to = self._rows(shard), at + end - begin
            rows.read("features", begin * row_bytes, feature_view[at * row_bytes : to * row_bytes])
            rows.read("token_ids", begin * id_bytes, id_view[at * id_bytes : to * id_bytes])
            at = to
        if int8:
            scales = [
                self._read(shard, "scales", *span, np.float32)
                for (shard, _), span in zip(places, spans, strict=True)
            ]
            features = (features * np.concatenate(scales)[:, None]).astype(np.float16)
        found = list(
            zip(
                torch.from_numpy(features).split(lengths),
                torch.from_numpy(ids).split(lengths),
                strict=True,
            )
        )
        if not with_prefix:
            return found
        starts = [int(self._read(i, "prefix_lengths", row, row + 1)[0]) for i, row in places]
        return [
            (
                torch.cat([memory[:1], self.prefix[:start], memory[1:]]),
                torch.cat([own[:1], self._prefix_ids[:start], own[1:]]),
            )
            for (memory, own), start in zip(found, starts, strict=True)
        ]

    def _place(self, index: int) -> tuple[int, int]:
        """The shard of a label, and its number there."""
        shard = bisect_right(self._shard_ends, index)
        return shard, index - (self._shard_ends[shard - 1] if shard else 0)

    def _span(self, shard: int, ends: str, row: int) -> tuple[int, int]:
        """Where a label's part of a ragged tensor begins and ends."""
        if not row:
            return 0, int(self._read(shard, ends, 0, 1)[0])
        begin, end = self._read(shard, ends, row - 1, row + 1).tolist()
        return begin, end

    def _read(
        self, shard: int, key: str, begin: int, end: int, dtype: DTypeLike = np.int32
    ) -> np.ndarray:
        """Part of a vector of a shard."""
        found = np.empty(end - begin, dtype)
        self._rows(shard).read(key, begin * found.itemsize, found.data.cast("B"))
        return found


def hash_labels(labels: Iterable[str]) -> np.ndarray:
    """Return the CRC-32 of each label, uint32: what held-out labels are chosen by."""
    return np.fromiter((zlib.crc32(label.encode()) for label in labels), dtype=np.uint32)
