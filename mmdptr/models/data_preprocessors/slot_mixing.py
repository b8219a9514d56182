# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Exchange of equal tokens between labels."""

import torch
from torch import Tensor


def mix_slots(token_ids: Tensor, slots: Tensor) -> Tensor:
    """Exchange equal tokens at equal slots between the labels of a batch.

    CLIP's text features know their neighbours: that of ``a`` in ``cat`` is not that of ``a`` in
    ``bag``. A decoder that reads them learns to use the neighbours, which no visual feature of a
    character has, and misreads memory that knows only what stands in a slot and which slot it is.
    After the exchange every slot still holds its own token at its own position, but the neighbours
    are those of another label, so that nothing else can be relied on.

    Args:
        token_ids (Tensor): Which token each row of all memories is, one behind the other, int64 of
            shape (T,).
        slots (Tensor): Which slot of its memory each row stands in, int64 of shape (T,).

    Returns:
        Tensor: Whose features each row takes, int64 of shape (T,): the rows, permuted among those
        of one token and slot.
    """
    keys = token_ids * (int(slots.max()) + 1) + slots
    givers, takers = _shuffled_by(keys), _shuffled_by(keys)
    rows = torch.empty_like(givers)
    rows[takers] = givers
    return rows


def _shuffled_by(keys: Tensor) -> Tensor:
    """An order that sorts the keys and is random among equal ones."""
    shuffled = torch.randperm(len(keys))
    return shuffled[torch.sort(keys[shuffled], stable=True).indices]
