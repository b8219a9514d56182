# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Sinusoid positions of sequences and grids."""

import torch
from torch import Tensor


def sinusoids(length: int, channels: int, device: torch.device | None = None) -> Tensor:
    """Sinusoid positions of "Attention Is All You Need" (arXiv 1706.03762, section 3.5).

    Args:
        length (int): Positions L.
        channels (int): Channels C.
        device (torch.device, optional): Where they are computed. Defaults to None: on the CPU.

    Returns:
        Tensor: Of shape (L, C), float32: C / 2 sines, then C / 2 cosines.

    Raises:
        ValueError: C is odd.
    """
    if channels % 2:
        raise ValueError(f"Sinusoid positions need an even number of channels, found {channels}.")
    frequencies = 10000 ** (-torch.arange(0, channels, 2, device=device) / channels)
    angles = torch.arange(length, device=device)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def sine_positions(
    height: int, width: int, channels: int, device: torch.device | None = None
) -> Tensor:
    """Positions of a grid: sinusoids of the row, then sinusoids of the column.

    Args:
        height (int): Rows H.
        width (int): Columns W.
        channels (int): Channels C.
        device (torch.device, optional): Where they are computed. Defaults to None: on the CPU.

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
    rows = sinusoids(height, channels // 2, device)[:, None].expand(-1, width, -1)
    columns = sinusoids(width, channels // 2, device)[None].expand(height, -1, -1)
    return torch.cat([rows, columns], dim=2).flatten(0, 1)


def add_positions(features: Tensor) -> Tensor:
    """Add the positions of its grid to a map (N, C, H, W)."""
    _, channels, height, width = features.shape
    positions = sine_positions(height, width, channels, features.device).to(features)
    return features + positions.T.unflatten(1, (height, width))
