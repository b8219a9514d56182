# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The feature merge unit of DPTR."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from mmocr.registry import MODELS
from torch import Tensor, nn

from mmdptr.models.position import sine_positions


@MODELS.register_module()
class FMU(BaseModule):
    """Feature merge unit: learned queries gather the characters from the visual tokens.

    After DPTR (arXiv 2408.05706, section 3): one cross-attention of learned queries over the
    encoder's tokens, with a residual on the queries, then a pre-norm feed-forward layer with a
    residual. Its output replaces the memory that the decoder reads, so that the decoder meets as
    many slots, in the order of reading, as the text embeddings had that it was pre-trained on.

    Three things are ours: padded columns are masked; positions are added to the keys (tokens
    without positions have no reading order, and an untrained encoder shows little of its own); and
    the tokens may first attend to each other, for one cross-attention cannot count: which of the
    tokens belong to the third character depends on the width of the two before it.

    Args:
        embed_dims (int): Channels C of the memory. :class:`DPTRRecognizer` fills it in from the
            decoder.
        num_queries (int): Queries Q. The paper has 26, for 25 characters and the end;
            :class:`DPTRRecognizer` fills in the slots of the decoder's memory layout.
        num_heads (int): Attention heads. Defaults to 8.
        feedforward_ratio (int): Width of the feed-forward layer as a multiple of C. Defaults to 4.
        dropout (float): Dropout after attention and feed-forward layer. Defaults to 0.1.
        with_position (bool): Whether to add 2-D sinusoid positions to the keys, and to the tokens
            before they attend to each other. Defaults to True.
        num_layers (int): Transformer layers (pre-norm) over the tokens before the queries read
            them. Defaults to 0: none, as in the paper.
        init_cfg (dict or list[dict], optional): Initialization config. Defaults to None.
    """

    def __init__(
        self,
        embed_dims: int,
        num_queries: int = 26,
        num_heads: int = 8,
        feedforward_ratio: int = 4,
        dropout: float = 0.1,
        with_position: bool = True,
        num_layers: int = 0,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if embed_dims % num_heads:
            raise ValueError(
                f"FMU: {num_heads} heads do not divide {embed_dims} channels. Set num_heads to a "
                "divisor."
            )
        self.with_position = with_position
        self.layers = _encoder(embed_dims, num_heads, feedforward_ratio, dropout, num_layers)
        self.queries = nn.Parameter(torch.empty(num_queries, embed_dims))
        self.attention = nn.MultiheadAttention(embed_dims, num_heads, batch_first=True)
        self.norm = nn.LayerNorm(embed_dims)
        self.feedforward = nn.Sequential(
            nn.Linear(embed_dims, feedforward_ratio * embed_dims),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(feedforward_ratio * embed_dims, embed_dims),
        )
        self.dropout = nn.Dropout(dropout)
        nn.init.trunc_normal_(self.queries, std=0.02)

    @property
    def num_queries(self) -> int:
        """int: Queries Q."""
        return self.queries.shape[0]

    def forward(
        self,
        tokens: Tensor,
        shape: tuple[int, int],
        valid_ratios: Sequence[float] | None = None,
        return_attention: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Merge visual tokens into one slot a query.

        Args:
            tokens (Tensor): Visual tokens of shape (N, H * W, C), row by row.
            shape (tuple[int, int]): Their grid (H, W).
            valid_ratios (Sequence[float], optional): For each sample, which part of the image's
                width is not padding. Defaults to None: all of it.
            return_attention (bool): Whether to return the attention too. Defaults to False.

        Returns:
            Tensor or tuple[Tensor, Tensor]: Memory of shape (N, Q, C); with ``return_attention``
            also the attention of the queries, averaged over the heads, of shape (N, Q, H, W).
        """
        mask = padding_mask(shape, valid_ratios, tokens.device)
        positions: Tensor | int = 0
        if self.with_position:
            positions = sine_positions(*shape, tokens.shape[2], tokens.device).to(tokens)
        if self.layers is not None:
            tokens = self.layers(tokens + positions, src_key_padding_mask=mask)
        keys = tokens + positions
        queries = self.queries.expand(len(tokens), -1, -1)
        merged, attention = self.attention(
            queries,
            keys,
            tokens,
            key_padding_mask=mask,
            need_weights=return_attention,
        )
        memory = queries + self.dropout(merged)
        memory = memory + self.dropout(self.feedforward(self.norm(memory)))
        if return_attention:
            return memory, attention.unflatten(2, shape)
        return memory


def _encoder(
    embed_dims: int, num_heads: int, feedforward_ratio: int, dropout: float, num_layers: int
) -> nn.TransformerEncoder | None:
    """Layers over the tokens, None for none: their final norm would change the tokens."""
    if not num_layers:
        return None
    layer = nn.TransformerEncoderLayer(
        embed_dims,
        num_heads,
        feedforward_ratio * embed_dims,
        dropout,
        activation="gelu",
        batch_first=True,
        norm_first=True,
    )
    # Nested tensors are for norm_first=False.
    norm = nn.LayerNorm(embed_dims)
    return nn.TransformerEncoder(layer, num_layers, norm, enable_nested_tensor=False)


def valid_columns(width: int, valid_ratio: float) -> int:
    """Columns of a map that are not padding, rounded up as MMOCR does, at least one."""
    return min(width, max(1, math.ceil(width * valid_ratio)))


def padding_mask(
    shape: tuple[int, int], valid_ratios: Sequence[float] | None, device: torch.device
) -> Tensor | None:
    """Mask the right-hand columns that are padding, in every row of the grid.

    Args:
        shape (tuple[int, int]): Grid (H, W).
        valid_ratios (Sequence[float], optional): Valid part of the width, a sample.
        device (torch.device): Where the mask goes.

    Returns:
        Tensor or None: Of shape (N, H * W), True where padded; None if nothing is.
    """
    if valid_ratios is None or all(ratio >= 1 for ratio in valid_ratios):
        return None
    height, width = shape
    valid = torch.tensor([valid_columns(width, ratio) for ratio in valid_ratios])
    valid = valid.to(device, non_blocking=True)
    columns = torch.arange(width, device=device) >= valid[:, None]
    return columns[:, None].expand(-1, height, -1).flatten(1)
