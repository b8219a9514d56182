# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Taking characters apart, so that it takes an encoder to put them together."""

import torch
from torch import Tensor

SIDES = 3
"""int: Planes whose sides tell the kinds of a stroke apart: few, so that letters share them."""


def split_into_strokes(characters: Tensor, strokes: int) -> Tensor:
    """Split characters into parts that other characters have, too.

    Of each stroke there are 8 kinds. Which of them a character has is on which side of three random
    planes through the mean of all given its embedding lies, planes of its own for each stroke, the
    same ones each time. All characters of a kind share the stroke; only all strokes together tell
    characters apart.

    Args:
        characters (Tensor): Embeddings of shape (N, D).
        strokes (int): Strokes S of a character.

    Returns:
        Tensor: Of shape (N, S, D), with the root mean square of ``characters``; with S = 1 the
        characters as they are, of shape (N, 1, D).
    """
    if strokes == 1:
        return characters[:, None]
    generator = torch.Generator().manual_seed(0)
    width = characters.shape[1]
    planes = torch.randn(strokes, SIDES, width, generator=generator).to(characters)
    # What all characters have in common would put them on the same sides.
    centred = characters - characters.mean(dim=0)
    sides = torch.einsum("nd,skd->nsk", centred, planes).sign()
    parts = torch.einsum("nsk,skd->nsd", sides, planes)
    return parts * (characters.square().mean() / parts.square().mean()).sqrt()
