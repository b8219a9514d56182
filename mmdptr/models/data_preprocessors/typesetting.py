# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Setting the characters of a label as a feature map of its image would have them."""

import torch
from torch import Tensor

GAP = 0.3
"""float: Space between characters, at most, in widths of a character."""
MARGIN = 0.08
"""float: Space on the left and on the right, at most, each as part of the text's width."""
HEADROOM = 0.25
"""float: Space above and below, at most, each as part of the height; a single row has none."""
SPREAD = 0.25
"""float: Standard deviation of the logarithm of widths, of characters and of whole words."""


def typeset(
    lengths: Tensor,
    shape: tuple[int, int],
    irregular: bool = True,
    character_width: float | None = None,
    strokes: int = 1,
) -> tuple[Tensor, Tensor]:
    """Set words in a grid, each in one line.

    Args:
        lengths (Tensor): Characters of each word, int64 of shape (N,), at least one each.
        shape (tuple[int, int]): Rows H and columns W of the grid.
        irregular (bool): Whether widths, gaps and margins are random, as those of fonts and of
            hands that crop. Defaults to True; else all characters are as wide as each other.
        character_width (float, optional): Columns that a character takes on average, with its
            gap; words that are too long are narrower. What is left on the right is padding, as
            in images that keep their shape. Defaults to None: words go from edge to edge, as
            those of crops that are resized to one width.
        strokes (int): Parts S of a character, equally high, one below another; at most H. Defaults
            to 1.

    Returns:
        tuple[Tensor, Tensor]: Which part of each cell a stroke covers, of shape (N, H * W, L * S),
        row by row, with L the longest length, character by character; the parts of a cell sum up
        to 1 at most. And which part of the width is not padding, of shape (N,).
    """
    height, width = shape
    number, longest, device = len(lengths), int(lengths.max()), lengths.device
    scale = SPREAD if irregular else 0.0

    def ones() -> Tensor:
        return torch.exp(scale * torch.randn(number, longest, device=device))

    def upto(most: float) -> Tensor:
        amount = torch.rand(number, 1, device=device) if irregular else 0.5
        return most * amount * torch.ones(number, 1, device=device)

    valid = torch.arange(longest, device=device) < lengths[:, None]
    widths, gaps = ones() * valid, upto(GAP) * ones() * valid
    stops = (widths + gaps).cumsum(1) - gaps
    text = (stops * valid).amax(dim=1, keepdim=True)
    left, right = upto(MARGIN) * text, upto(MARGIN) * text
    pitch = fitting = width / (left + text + right)
    if character_width is not None:
        stretch = torch.exp(scale * torch.randn(number, 1, device=device))
        natural = character_width / (1 + GAP / 2 + 2 * MARGIN / 2) * stretch
        pitch = torch.minimum(natural, fitting)
    starts, stops = (left + stops - widths) * pitch, (left + stops) * pitch
    columns = _overlap(starts, stops, width) * valid[:, None]
    valid_ratios = (pitch / fitting).squeeze(1)
    if height == 1:
        return columns, valid_ratios
    top, bottom = upto(HEADROOM) * height, height - upto(HEADROOM) * height
    edges = torch.lerp(top, bottom, torch.linspace(0, 1, strokes + 1, device=device))
    rows = _overlap(edges[:, :-1], edges[:, 1:], height)
    cover = torch.einsum("nhs,nwl->nhwls", rows, columns)
    return cover.flatten(3).flatten(1, 2), valid_ratios


def _overlap(starts: Tensor, stops: Tensor, cells: int) -> Tensor:
    """Which part of each cell lies in each stretch (N, L): (N, cells, L)."""
    cell = torch.arange(cells, device=starts.device)[:, None]
    return (torch.minimum(cell + 1, stops[:, None]) - torch.maximum(cell, starts[:, None])).clamp(0)


def blur(maps: Tensor, shape: tuple[int, int], spread: Tensor) -> Tensor:
    """Smear the columns of maps, each row alone.

    Args:
        maps (Tensor): Of shape (N, H * W, C), row by row.
        shape (tuple[int, int]): Their grid (H, W).
        spread (Tensor): Standard deviation of the Gaussian, in columns, of shape (N,).

    Returns:
        Tensor: Of the same shape.
    """
    columns = torch.arange(shape[1], device=maps.device, dtype=maps.dtype)
    distance = columns[:, None] - columns
    kernel = torch.exp(-0.5 * (distance / spread.to(maps)[:, None, None]).square())
    kernel = kernel / kernel.sum(dim=2, keepdim=True)
    return torch.einsum("nvw,nhwc->nhvc", kernel, maps.unflatten(1, shape)).flatten(1, 2)


def log_uniform(number: int, most: float, device: torch.device) -> Tensor:
    """Draw numbers of shape (N,) between a hundredth of ``most`` and ``most``, all scales alike."""
    return most * 100 ** -torch.rand(number, device=device)
