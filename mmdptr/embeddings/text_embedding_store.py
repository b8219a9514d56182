# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The text-embedding store: pseudo visual memory of a corpus, written once and read often."""

import zlib
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor

from .row_file import RowFile
from .sharded_folder import ShardedWriter
from .sharded_reader import ShardedReader

KIND = "text_embeddings"
PREFIX = "prefix"

POOLED = -1
"""int: Stands for the pooled feature where token ids are listed."""

OPEN_FILES = 256
"""int: Shards that stay open in a process; many systems allow 1024 open files."""


class TextEmbeddingWriter(ShardedWriter):
    """Writes a text-embedding store in shards.

    Args:
        folder (str or Path): See :class:`ShardedWriter`, as for the next two and ``joins``.
        source (dict): What the content depends on.
        overwrite (bool): Whether to begin anew. Defaults to False.
        joins (bool): Whether another process has begun the folder. Defaults to False.
        int8 (bool): Whether to keep features as int8 with a scale a row: half the size, at an error
            of at most 0.4 % of a row's largest value. Defaults to False: float16.
    """

    def __init__(
        self,
        folder: str | Path,
        source: dict[str, Any],
        overwrite: bool = False,
        joins: bool = False,
        int8: bool = False,
    ) -> None:
        super().__init__(folder, KIND, {**source, "int8": int8}, overwrite, joins)
        self.int8 = int8

    def add_prefix(self, features: Tensor, token_ids: Tensor) -> None:
        """Write features (P, D) and ids (P,) of the prompt's prefix, which all labels share."""
        self.add(PREFIX, {"features": to_half(features), "token_ids": token_ids.to(torch.int32)})

    def add_labels(
        self,
        name: str,
        labels: Sequence[str],
        pooled: Tensor,
        tokens: Tensor,
        lengths: Tensor,
        prefix_lengths: Tensor,
        token_ids: Tensor,
        **notes: Any,
    ) -> None:
        """Write one shard of N labels.

        Args:
            name (str): Name of the shard.
            labels (Sequence[str]): The N labels.
            pooled (Tensor): Pooled features of shape (N, D).
            tokens (Tensor): Own token features, one label behind the other, of shape (T, D).
            lengths (Tensor): Own tokens a label, of shape (N,), T in all.
            prefix_lengths (Tensor): Tokens of the prefix before them, of shape (N,).
            token_ids (Tensor): Ids of the own tokens, of shape (T,).
            **notes: JSON-able facts about this shard that the manifest keeps.

        Raises:
            ValueError: Pooled and token features differ in width, or a value is not finite.
        """
        if pooled.shape[1] != tokens.shape[1]:
            raise ValueError(
                f"The pooled feature has width {pooled.shape[1]}, the tokens {tokens.shape[1]}: "
                "they cannot stand in one memory. Extract with --joint-space."
            )
        # A label's rows lie together: its pooled feature, then its tokens.
        ends = (lengths + 1).cumsum(0)
        heads = ends - (lengths + 1)
        rows = torch.empty(len(labels) + len(tokens), tokens.shape[1], dtype=torch.float16)
        is_token = torch.ones(len(rows), dtype=torch.bool)
        is_token[heads] = False
        rows[heads], rows[is_token] = to_half(pooled), to_half(tokens)
        ids = torch.full((len(rows),), POOLED, dtype=torch.int32)
        ids[is_token] = token_ids.to(torch.int32)
        texts = [label.encode() for label in labels]
        text_ends = np.cumsum([len(text) for text in texts], dtype=np.int32)
        self.add(
            name,
            {
                **(quantize(rows) if self.int8 else {"features": rows}),
                "token_ids": ids,
                "ends": ends.to(torch.int32),
                "prefix_lengths": prefix_lengths.to(torch.int32),
                "text": torch.tensor(bytearray(b"".join(texts)), dtype=torch.uint8),
                "text_ends": torch.from_numpy(text_ends),
                "hashes": torch.from_numpy(hash_labels(labels).view(np.int32)),
            },
            labels=len(labels),
            **notes,
        )


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


def quantize(rows: Tensor) -> dict[str, Tensor]:
    """Turn float16 rows (R, D) into int8 ``features`` (R, D) and float32 ``scales`` (R,)."""
    scales = rows.float().abs().amax(dim=1).clamp(min=torch.finfo(torch.float16).tiny) / 127
    features = (rows.float() / scales[:, None]).round().to(torch.int8)
    return {"features": features, "scales": scales}


def to_half(features: Tensor) -> Tensor:
    """Convert features to float16 on the CPU.

    Raises:
        ValueError: A value is not finite there.
    """
    half = features.to(device="cpu", dtype=torch.float16)
    if not torch.isfinite(half).all():
        raise ValueError(
            "The features hold values that are not finite in float16. Check the CLIP weights, or "
            "compute in --precision fp32."
        )
    return half
