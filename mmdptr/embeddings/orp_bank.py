# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The ORP bank: CLIP features of natural images, drawn from at random as noise."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from .precision import to_half
from .sharded_reader import ShardedReader
from .sharded_writer import ShardedWriter

KIND = "orp_bank"


class ORPBankWriter(ShardedWriter):
    """Writes an ORP bank in shards; see :class:`ShardedWriter` for its arguments."""

    kind = KIND
    shards = ("images-[0-9]*",)

    def add_images(self, name: str, features: Tensor, **notes: Any) -> None:
        """Write one shard of the features (B, T, C) of B images with T tokens of width C.

        Args:
            name (str): Name of the shard.
            features (Tensor): The features.
            **notes: JSON-able facts about this shard that the manifest keeps.

        Raises:
            ValueError: A value is not finite in float16.
        """
        self.add(name, {"features": to_half(features).contiguous()}, **notes)


class ORPBank(ShardedReader):
    """Reads an ORP bank; features are memory-mapped.

    Args:
        folder (str or Path): The folder that ``tools/extract_orp_bank.py`` wrote.
        verify_checksums (bool or str): See :class:`ShardedReader`. Defaults to True.

    Raises:
        FileNotFoundError: No bank there.
        DamagedStoreError: A file is missing or not what was written; the message names it.
        ValueError: Not complete, empty, of another kind or format version.
    """

    kind = KIND

    def _open(self) -> None:
        shards = [self._shard(name)["features"] for name in self.manifest["files"]]
        self._features = [shard for shard in shards if len(shard)]
        if not self._features:
            raise ValueError(f"{self.folder} holds no image. Extract from a folder that has some.")
        self._shard_ends = np.cumsum([len(features) for features in self._features])

    def __len__(self) -> int:
        return int(self._shard_ends[-1])

    @property
    def num_tokens(self) -> int:
        """int: Tokens T an image."""
        return self._features[0].shape[1]

    @property
    def width(self) -> int:
        """int: Width C of the features."""
        return self._features[0].shape[2]

    def sample(
        self, lengths: Sequence[int], rng: np.random.Generator, shared_positions: bool = False
    ) -> Tensor:
        """Draw token features of one random image for each of N labels.

        Positions are drawn without replacement as long as the image has enough of them, as the
        paper does; a small CLIP (ViT-B/32 has 50 tokens) repeats some instead of failing.

        Args:
            lengths (Sequence[int]): How many for each label, N numbers with the sum S.
            rng (numpy.random.Generator): Source of chance.
            shared_positions (bool): Whether all labels get the same positions, of images of their
                own. Defaults to False.

        Returns:
            Tensor: Of shape (S, C), float16, one label's behind the other's.
        """
        numbers = np.asarray(lengths)
        images = rng.integers(len(self), size=len(numbers))
        positions = np.tile(np.arange(self.num_tokens), (len(numbers), 1))
        if shared_positions:
            positions = positions[:, rng.permutation(self.num_tokens)]
        else:
            rng.permuted(positions, axis=1, out=positions)
        slots = np.arange(numbers.max())
        own = slots < numbers[:, None]
        return self.tokens(images.repeat(numbers), positions[:, slots % self.num_tokens][own])

    def tokens(self, images: ArrayLike, positions: ArrayLike) -> Tensor:
        """Return the features (S, C), float16, of S tokens: their images, and positions there."""
        images, positions = np.broadcast_arrays(images, positions)
        found = torch.empty(len(images), self.width, dtype=torch.float16)
        shards = np.searchsorted(self._shard_ends, images, side="right")
        for shard in np.unique(shards):
            chosen = np.flatnonzero(shards == shard)
            first = self._shard_ends[shard - 1] if shard else 0
            rows = (images[chosen] - first) * self.num_tokens + positions[chosen]
            found[chosen] = self._features[shard].flatten(0, 1)[rows]
        return found
