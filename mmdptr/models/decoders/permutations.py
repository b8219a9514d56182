# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Orders in which a permutation language model decodes, and who may read whom under them.

After PARSeq (Bautista and Atienza, ECCV 2022, arXiv 2207.06966, section 3.3) and XLNet
(arXiv 1906.08237). A text has the tokens 0 (start), 1 to L (characters) and L + 1 (end). An order
is the turn of each token, the start's being 0: a token may be predicted from those whose turn came
earlier.
"""

import itertools

import torch
from torch import Tensor

ENUMERATED = 4
"""int: Characters up to which all orders are listed, to draw from without repetition."""


def sample_orders(length: int, number: int, mirrored: bool = True) -> Tensor:
    """Draw orders of decoding; the first one is from left to right.

    The end comes last, except in the mirror image of the first order, where it comes before all
    characters: so a model learns to end a text after reading it, and before.

    Args:
        length (int): Characters L, 1 or more.
        number (int): How many orders. Of L characters there are fewer if L is small.
        mirrored (bool): Whether every second order is the mirror image of the one before. An odd
            number then leaves the last mirror image out. Defaults to True.

    Returns:
        Tensor: The turn of each token, int64 of shape (K, L + 2), K <= ``number``.
    """
    drawn = (number + 1) // 2 if mirrored else number
    sequences = _sample_sequences(length, drawn, mirrored)
    if mirrored and length > 1:
        sequences = torch.stack([sequences, sequences.flip(1)], dim=1).flatten(0, 1)
    sequences = sequences[:number]
    count = len(sequences)
    turns = torch.empty(count, length + 2, dtype=torch.long)
    turns[:, 0], turns[:, -1] = 0, length + 1
    turns[:, 1:-1] = sequences.argsort(dim=1) + 1
    if mirrored and count > 1:
        turns[1, -1] = 1
        turns[1, 1:-1] += 1
    return turns


def _sample_sequences(length: int, number: int, mirrored: bool) -> Tensor:
    """Sequences of the characters 0 to L - 1, the first from left to right: (K, L)."""
    first = torch.arange(length)[None]
    if length > ENUMERATED:
        random = [torch.randperm(length) for _ in range(number - 1)]
        return torch.cat([first, *(sequence[None] for sequence in random)])
    # An order stands for its mirror image, too.
    every = [
        sequence
        for sequence in itertools.permutations(range(length))
        if not mirrored or sequence <= sequence[::-1]
    ]
    others = torch.tensor(every)[1:]  # they begin with the one from left to right
    return torch.cat([first, others[torch.randperm(len(others))[: number - 1]]])


def reading_masks(turns: Tensor) -> tuple[Tensor, Tensor]:
    """Return which content tokens may be read under some orders.

    Content are the tokens 0 to L: the end is never read.

    Args:
        turns (Tensor): Of shape (K, L + 2), see :func:`sample_orders`.

    Returns:
        tuple[Tensor, Tensor]: Bool of shape (K, L + 1, L + 1), True where it may be read. By the
        first a prediction of the tokens 1 to L + 1 reads content, by the second content reads
        content: itself, too.
    """
    content = turns[:, None, :-1]
    return content < turns[:, 1:, None], content <= turns[:, :-1, None]


def cloze_mask(length: int) -> Tensor:
    """Return the mask of refinement: a prediction reads all but the token that it predicts.

    Returns:
        Tensor: Bool of shape (L + 1, L + 1), True where it may be read, for L characters.
    """
    return torch.ones(length, dtype=torch.bool).diag(1).logical_not()
