# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Writing a text-embedding store."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from .precision import quantize, to_half
from .sharded_folder import SHARD
from .sharded_writer import ShardedWriter
from .text_embedding_store import KIND, POOLED, PREFIX, hash_labels


class TextEmbeddingWriter(ShardedWriter):
    """Writes a text-embedding store in shards.

    Args:
        folder (str or Path): See :class:`ShardedWriter`, as for all but ``int8``.
        source (dict): What the content depends on.
        overwrite (bool): Whether to begin anew. Defaults to False.
        joins (bool): Whether another process has begun the folder. Defaults to False.
        int8 (bool): Whether to keep features as int8 with a scale a row: half the size, at an error
            of at most 0.4 % of a row's largest value. Defaults to False: float16.
        locked (bool): Whether the caller holds the folder's lock. Defaults to False.
    """

    kind = KIND
    shards = (PREFIX, "labels-[0-9]*")

    def __init__(
        self,
        folder: str | Path,
        source: dict[str, Any],
        overwrite: bool = False,
        joins: bool = False,
        int8: bool = False,
        locked: bool = False,
    ) -> None:
        super().__init__(folder, {**source, "int8": int8}, overwrite, joins, locked)
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

    def labels(self) -> Iterator[str]:
        """Yield all labels that are safe on disk, in order."""
        for name in self.entries():
            if name != PREFIX:
                with safe_open(self.folder / f"{name}{SHARD}", framework="np") as shard:
                    text, ends = shard.get_tensor("text").tobytes(), shard.get_tensor("text_ends")
                for begin, end in pairwise([0, *ends.tolist()]):
                    yield text[begin:end].decode()
