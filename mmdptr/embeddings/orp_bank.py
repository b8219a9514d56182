# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The ORP bank: CLIP features of natural images, drawn from at random as noise."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .sharded_folder import ShardedWriter
from .sharded_reader import ShardedReader

KIND = "orp_bank"


class ORPBankWriter(ShardedWriter):
    """Writes an ORP bank in shards; see :class:`ShardedWriter` for its arguments."""

    def __init__(self, folder: str | Path, source: dict[str, Any], overwrite: bool = False) -> None:
        super().__init__(folder, KIND, source, overwrite)

    def add_images(self, name: str, features: Tensor, **notes: Any) -> None:
        """Write one shard of the features (B, T, C) of B images with T tokens of width C.

        Args:
            name (str): Name of the shard.
            features (Tensor): The features.
            **notes: JSON-able facts about this shard that the manifest keeps.

        Raises:
            ValueError: A value is not finite in float16.
        """
        half = features.to(device="cpu", dtype=torch.float16).contiguous()
        if not torch.isfinite(half).all():
            raise ValueError(
                "The image features are not finite in float16; check the CLIP weights."
            )
        self.add(name, {"features": half}, **notes)


class ORPBank(ShardedReader):
    """Reads an ORP bank; features are memory-mapped.

    Args:
        folder (str or Path): The folder that ``tools/extract_orp_bank.py`` wrote.
        verify_checksums (bool): Whether to compare every byte with its checksum. Defaults to True.

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

    def tokens(self, image: int, positions: Sequence[int] | np.ndarray) -> Tensor:
        """Return the features (len(positions), C), float16, of some tokens of one image."""
        shard = int(np.searchsorted(self._shard_ends, image, side="right"))
        first = self._shard_ends[shard - 1] if shard else 0
        return self._features[shard][image - first][torch.as_tensor(np.asarray(positions))]

    def sample(self, length: int, rng: np.random.Generator) -> Tensor:
        """Draw ``length`` token features of one random image.

        Positions are drawn without replacement as long as the image has enough of them, as the
        paper does; a small CLIP (ViT-B/32 has 50 tokens) repeats some instead of failing.

        Args:
            length (int): How many.
            rng (numpy.random.Generator): Source of chance.

        Returns:
            Tensor: Of shape (length, C), float16.
        """
        image = int(rng.integers(len(self)))
        positions = rng.choice(self.num_tokens, size=length, replace=length > self.num_tokens)
        return self.tokens(image, positions)
