# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Two-dimensional sinusoid positions."""

import torch
from torch import Tensor


def sine_positions(height: int, width: int, channels: int) -> Tensor:
    """Sinusoid positions of a grid, half of the channels for rows and half for columns.

    The sinusoids are those of "Attention Is All You Need" (arXiv 1706.03762, section 3.5), once an
    axis, as 2-D transformers use them.

    Args:
        height (int): Rows H.
        width (int): Columns W.
        channels (int): Channels C.

    Returns:
        Tensor: Of shape (H * W, C), row by row, float32.

    Raises:
        ValueError: C is not a multiple of 4.
    """
    if channels % 4:
        raise ValueError(
            f"2-D sinusoid positions need a multiple of 4 channels, found {channels}. Set "
            "with_position=False or another width."
        )
    frequencies = 10000 ** (-torch.arange(0, channels // 2, 2) / (channels // 2))
    rows = torch.arange(height)[:, None] * frequencies
    columns = torch.arange(width)[:, None] * frequencies
    rows = torch.cat([rows.sin(), rows.cos()], dim=1)
    columns = torch.cat([columns.sin(), columns.cos()], dim=1)
    grid = torch.cat(
        [
            rows[:, None].expand(height, width, channels // 2),
            columns[None].expand(height, width, channels // 2),
        ],
        dim=2,
    )
    return grid.flatten(0, 1).float()
