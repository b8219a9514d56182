# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""What an encoder asks of a text tower."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from mmdptr.clip.loading import LoadedCLIP


class TextTower(ABC):
    """A text tower of a CLIP that gives the features of all tokens.

    Attributes:
        clip (LoadedCLIP): The CLIP.
        width (int): Width D of the token features.
        shares_prefix (bool): Whether tokens see only those before them, so that the features of a
            common beginning are the same in all sentences.
        sees_padding (bool): Whether what stands behind a sentence changes its features, so that
            all of the context has to be computed.
    """

    shares_prefix = False
    sees_padding = True

    def __init__(self, clip: LoadedCLIP, width: int) -> None:
        self.clip = clip
        self.width = width

    @abstractmethod
    def __call__(self, ids: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Run sentences of one length.

        Args:
            ids (Tensor): Token ids, int64 of shape (N, L), on the CLIP's device; of a tower that
                shares its prefix, the first ``start`` are those of the prefix.
            start (int): How many tokens at the beginning are not asked for.

        Returns:
            tuple[Tensor, Tensor]: Features of the other tokens, after the tower's last
            normalization, of shape (N, L - start, D), and the pooled feature that ``encode_text``
            returns, of shape (N, J).
        """

    @abstractmethod
    def project(self, x: Tensor) -> Tensor:
        """Project token features (..., D) to the joint space (..., J)."""

    def prefix(self) -> Tensor:
        """Return the features of the prefix, of shape (P, D); none if it is not shared."""
        return torch.empty(0, self.width, device=self.clip.device, dtype=self.clip.dtype)

    @property
    def pooled_width(self) -> int:
        """int: Width J of the pooled feature, that of CLIP's joint space."""
        nothing = torch.zeros(1, self.width, device=self.clip.device, dtype=self.clip.dtype)
        return self.project(nothing).shape[-1]
