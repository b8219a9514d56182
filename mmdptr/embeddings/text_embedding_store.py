# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The text-embedding store: pseudo visual memory of a corpus, written once and read often."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .sharded_folder import ShardedWriter
from .sharded_reader import ShardedReader

KIND = "text_embeddings"
PREFIX = "prefix"

POOLED = -1
"""int: Stands for the pooled feature where token ids are listed."""


class TextEmbeddingWriter(ShardedWriter):
    """Writes a text-embedding store in shards; see :class:`ShardedWriter` for its arguments."""

    def __init__(
        self,
        folder: str | Path,
        source: dict[str, Any],
        overwrite: bool = False,
        joins: bool = False,
    ) -> None:
        super().__init__(folder, KIND, source, overwrite, joins)

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
            labels (Sequence[str]): The N labels; none holds a line feed.
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
        heads = (lengths + 1).cumsum(0) - (lengths + 1)
        rows = torch.empty(len(labels) + len(tokens), tokens.shape[1], dtype=torch.float16)
        is_token = torch.ones(len(rows), dtype=torch.bool)
        is_token[heads] = False
        rows[heads], rows[is_token] = to_half(pooled), to_half(tokens)
        ids = torch.full((len(rows),), POOLED, dtype=torch.int32)
        ids[is_token] = token_ids.to(torch.int32)
        text = np.frombuffer("\n".join(labels).encode(), dtype=np.uint8)
        self.add(
            name,
            {
                "features": rows,
                "token_ids": ids,
                "lengths": lengths.to(torch.int32),
                "prefix_lengths": prefix_lengths.to(torch.int32),
                "labels": torch.from_numpy(text.copy()),
            },
            **notes,
        )


class TextEmbeddingStore(ShardedReader):
    """Reads a text-embedding store; features are memory-mapped and read when asked for.

    A label's memory is its pooled feature followed by its own token features, of shape (L, D) with
    L = 1 + own tokens and D the width. Where the store was extracted with ``keep_padding``, the
    tokens reach to the end of CLIP's context.

    Args:
        folder (str or Path): The folder that ``tools/extract_text_embeddings.py`` wrote.
        verify_checksums (bool): Whether to compare every byte with its checksum first; costs one
            sequential read of the folder. Defaults to True.

    Raises:
        FileNotFoundError: No store there.
        DamagedStoreError: A file is missing or not what was written; the message names it.
        ValueError: Not complete, empty, of another kind or format version.
    """

    kind = KIND

    def _open(self) -> None:
        names = [name for name in self.manifest["files"] if name != PREFIX]
        shards = [self._shard(name) for name in names]
        shards = [shard for shard in shards if len(shard["lengths"])]
        if not shards:
            raise ValueError(f"{self.folder} holds no label. Extract from a corpus that has some.")
        prefix = self._shard(PREFIX)
        self.prefix, self._prefix_ids = prefix["features"], prefix["token_ids"]
        self._features = [shard["features"] for shard in shards]
        self._token_ids = [shard["token_ids"] for shard in shards]
        self.lengths = torch.cat([shard["lengths"] for shard in shards]).long()
        self.prefix_lengths = torch.cat([shard["prefix_lengths"] for shard in shards])
        self._offsets = torch.cat(
            [(s["lengths"].long() + 1).cumsum(0) - (s["lengths"].long() + 1) for s in shards]
        )
        self._shard_ends = np.cumsum([len(shard["lengths"]) for shard in shards])
        # One block of UTF-8 and its line ends: a list of str would cost ten times the memory.
        self._text = np.concatenate([np.append(s["labels"].numpy(), ord("\n")) for s in shards])
        self._text = self._text.astype(np.uint8)
        self._line_ends = np.flatnonzero(self._text == ord("\n"))

    def __len__(self) -> int:
        return len(self.lengths)

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
        begin = self._line_ends[index - 1] + 1 if index else 0
        return self._text[begin : self._line_ends[index]].tobytes().decode()

    def labels(self) -> list[str]:
        """Return all labels."""
        return self._text.tobytes().decode().split("\n")[:-1]

    def memory(self, index: int, with_prefix: bool = False) -> Tensor:
        """Return the memory of the label ``index``.

        Args:
            index (int): From 0 to the number of labels - 1.
            with_prefix (bool): Whether to put the prompt's prefix between the pooled feature and
                the own tokens. Defaults to False.

        Returns:
            Tensor: Of shape (L, D), float16, a copy.
        """
        return self._rows(self._features, self.prefix, index, with_prefix)

    def token_ids(self, index: int, with_prefix: bool = False) -> Tensor:
        """Return the token ids of :meth:`memory`'s slots, ``POOLED`` first: int32 of shape (L,)."""
        return self._rows(self._token_ids, self._prefix_ids, index, with_prefix)

    def memories(
        self, indices: Sequence[int], with_prefix: bool = False
    ) -> list[tuple[Tensor, Tensor]]:
        """Return :meth:`memory` and :meth:`token_ids` of several labels."""
        return [(self.memory(i, with_prefix), self.token_ids(i, with_prefix)) for i in indices]

    def _rows(
        self, shards: Sequence[Tensor], prefix: Tensor, index: int, with_prefix: bool
    ) -> Tensor:
        shard = int(np.searchsorted(self._shard_ends, index, side="right"))
        begin = int(self._offsets[index])
        rows = shards[shard][begin : begin + 1 + int(self.lengths[index])]
        if not with_prefix:
            return rows.clone()
        return torch.cat([rows[:1], prefix[: int(self.prefix_lengths[index])], rows[1:]])


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
