# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Where to find ragged sequences that lie one behind the other."""

import torch
from torch import Tensor


def padded_rows(lengths: Tensor, longest: int) -> Tensor:
    """Index ragged sequences as one rectangle, each filled up with its last row.

    All at once and on the CPU: sequence by sequence would keep a GPU waiting.

    Args:
        lengths (Tensor): Rows of each sequence, at least one each, int64 of shape (N,).
        longest (int): Columns L of the rectangle.

    Returns:
        Tensor: int64 of shape (N, L).
    """
    starts = lengths.cumsum(0) - lengths
    return starts[:, None] + torch.arange(longest).minimum(lengths[:, None] - 1)
