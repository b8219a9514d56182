# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""What ORP and backbones ask of an image tower."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn


class ImageTower(ABC):
    """A vision transformer that gives the features of all tokens.

    Attributes:
        module (nn.Module): The transformer, as open_clip builds it.
        patch_size (tuple[int, int]): Height and width of a patch in pixels.
        grid_size (tuple[int, int]): Rows and columns of patches.
        num_prefix_tokens (int): Tokens before those of the patches, such as the class token.
    """

    patch_size: tuple[int, int]
    grid_size: tuple[int, int]
    num_prefix_tokens: int

    def __init__(self, module: Any) -> None:
        self.module = module

    @property
    @abstractmethod
    def blocks(self) -> Sequence[nn.Module]:
        """Sequence[nn.Module]: The blocks, from the image on."""

    @property
    @abstractmethod
    def embedding(self) -> tuple[nn.Module | nn.Parameter, ...]:
        """tuple: What stands before the blocks."""

    @abstractmethod
    def __call__(self, images: Tensor) -> Tensor:
        """Compute the features of all tokens, after the last normalization and the projection.

        Args:
            images (Tensor): Preprocessed images of shape (B, 3, H, W).

        Returns:
            Tensor: Of shape (B, T, C) with T tokens, those of patches last.
        """

    @abstractmethod
    def keep_tokens_only(self, with_projection: bool) -> None:
        """Take out what the features of tokens do not need: pooling, or the projection, too.

        Args:
            with_projection (bool): Whether the projection stays.
        """
