# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""What greedy decoders with a key/value cache share.

Shapes: N samples, T steps, C classes, H heads, D channels of a head. This is for inference, so
dropout, which does nothing there, is left out.
"""

from collections.abc import Callable, Sequence

import torch
from mmocr.models.common import PositionalEncoding
from mmocr.models.common.dictionary import Dictionary
from mmocr.models.textrecog.decoders.base import BaseDecoder
from torch import Tensor
from torch.nn import functional as F


class KeyValueCache:
    """Keys and values of one self-attention, for the characters decoded so far.

    Room for all of them is taken at the first, in the dtype that the projections come in. It is
    written in place, so there is no backward through it.

    Args:
        length (int): The most characters there can be.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self.used = 0

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add one character's key and value; return those of all t characters so far.

        Args:
            key (Tensor): Shape (N, H, 1, D).
            value (Tensor): Shape (N, H, 1, D).

        Returns:
            tuple[Tensor, Tensor]: Keys and values, each of shape (N, H, t, D).
        """
        if self.used == 0:
            self.keys, self.values = (
                x.new_empty(*x.shape[:2], self.length, x.shape[3]) for x in (key, value)
            )
        now = slice(self.used, self.used + 1)
        self.keys[:, :, now], self.values[:, :, now] = key, value
        self.used += 1
        return self.keys[:, :, : self.used], self.values[:, :, : self.used]


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Turn (N, T, H * D) into (N, H, T, D)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def attend(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Read the values by attention and join the heads.

    Args:
        query (Tensor): Shape (N, H, 1, D).
        keys (Tensor): Shape (N, H, T, D).
        values (Tensor): Shape (N, H, T, D).
        mask (Tensor, optional): Which keys may be read, of shape (N, T). Defaults to None: all.

    Returns:
        Tensor: Shape (N, 1, H * D).
    """
    mask = None if mask is None else mask[:, None, None]
    attended = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
    return attended.transpose(1, 2).flatten(2)


def add_position(encoding: PositionalEncoding, x: Tensor, step: int) -> Tensor:
    """Add the position of one step to embeddings (N, 1, C); MMOCR's module begins at 0."""
    return x + encoding.position_table[:, step : step + 1]


def end_tokens(decoder: BaseDecoder) -> list[int]:
    """Return the tokens after which the decoder's postprocessor reads no further: one or none."""
    end = decoder.dictionary.end_idx
    skipped = getattr(decoder.postprocessor, "ignore_indexes", ())
    return [] if end is None or end in skipped else [end]


def decode_greedily(
    next_logits: Callable[[Tensor, int], Tensor],
    start: Tensor,
    steps: int,
    last_tokens: Sequence[int],
) -> Tensor:
    """Feed each step the most probable tokens of the one before.

    Args:
        next_logits (Callable): Makes logits (N, C) of tokens (N,) and the number of the step.
        start (Tensor): The tokens of step 0, of shape (N,).
        steps (int): The most steps there can be.
        last_tokens (Sequence[int]): Decoding stops when every sample has had one of these.

    Returns:
        Tensor: Logits of shape (N, t, C), with t the number of steps taken; float32 also under
        autocast, since MMOCR's postprocessors go through NumPy, which has no bfloat16.
    """
    tokens, logits = start, []
    finished = torch.zeros_like(start, dtype=torch.bool)
    for step in range(steps):
        logits.append(next_logits(tokens, step))
        tokens = logits[-1].argmax(dim=-1)
        for token in last_tokens:
            finished |= tokens == token
        # Asking waits for a GPU, so it is left where nothing can end.
        if last_tokens and finished.all():
            break
    return torch.stack(logits, dim=1).float()


def fill_steps(probabilities: Tensor, steps: int, dictionary: Dictionary) -> Tensor:
    """Lengthen probabilities (N, t, C) to (N, T, C) by steps that are certainly padding.

    In a dictionary without padding, they are the end, where the postprocessor has stopped already.
    """
    missing = steps - probabilities.shape[1]
    if not missing:
        return probabilities
    padding = dictionary.padding_idx
    token = torch.tensor(dictionary.end_idx if padding is None else padding)
    filling = F.one_hot(token, probabilities.shape[2]).to(probabilities)
    return torch.cat([probabilities, filling.expand(len(probabilities), missing, -1)], dim=1)
