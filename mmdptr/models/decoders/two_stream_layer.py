# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""A transformer layer with two streams, pre-normalized."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .greedy_decoding import split_heads

KeysAndValues = tuple[Tensor, Tensor]


class Attention(nn.Module):
    """Multi-head attention whose keys and values are computed apart, so that they can be kept.

    Args:
        channels (int): Channels C.
        heads (int): Heads H.
        dropout (float): Of the attention weights.
    """

    def __init__(self, channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.output = nn.Linear(channels, channels)

    def keys_and_values(self, x: Tensor) -> KeysAndValues:
        """Project what is read, (N, L, C), to keys and values, each (N, H, L, C / H)."""
        key, value = self.key_value(x).chunk(2, dim=-1)
        return split_heads(key, self.heads), split_heads(value, self.heads)

    def forward(self, x: Tensor, read: KeysAndValues, mask: Tensor | None = None) -> Tensor:
        """Read keys and values; where K times as many read, each K in turn share what is read.

        Args:
            x (Tensor): Who reads, of shape (N * K, T, C).
            read (tuple[Tensor, Tensor]): See :meth:`keys_and_values`.
            mask (Tensor, optional): Bool that broadcasts to (N, H, K * T, L), True where it may be
                read. Defaults to None: everywhere.

        Returns:
            Tensor: Of shape (N * K, T, C).
        """
        query = self.query(x).reshape(len(read[0]), -1, x.shape[2])
        attended = F.scaled_dot_product_attention(
            split_heads(query, self.heads),
            *read,
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.output(attended.transpose(1, 2).reshape(x.shape))


class TwoStreamLayer(nn.Module):
    """Attends to the content, then to the memory; one set of weights for two streams.

    The query stream knows the place that it predicts, and reads the content of others. The content
    stream knows what stands in a place. Both pass the same layer (XLNet, arXiv 1906.08237; PARSeq,
    arXiv 2207.06966, section 3.2), and normalize their input with weights of their own.

    Args:
        channels (int): Channels C.
        heads (int): Attention heads.
        inner (int): Channels of the feed-forward layer.
        dropout (float): Of attention, and of what is added to the streams.
    """

    def __init__(self, channels: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.query_norm = nn.LayerNorm(channels)
        self.content_norm = nn.LayerNorm(channels)
        self.self_attention = Attention(channels, heads, dropout)
        self.memory_norm = nn.LayerNorm(channels)
        self.memory_attention = Attention(channels, heads, dropout)
        self.feedforward_norm = nn.LayerNorm(channels)
        self.feedforward = nn.Sequential(
            nn.Linear(channels, inner), nn.GELU(), nn.Dropout(dropout), nn.Linear(inner, channels)
        )
        self.dropout = nn.Dropout(dropout)

    def read_content(self, content: Tensor) -> KeysAndValues:
        """Return keys and values of the content (N, S, C)."""
        return self.self_attention.keys_and_values(self.content_norm(content))

    def read_memory(self, memory: Tensor) -> KeysAndValues:
        """Return keys and values of the memory (N, L, C)."""
        return self.memory_attention.keys_and_values(memory)

    def query_stream(
        self,
        query: Tensor,
        content: KeysAndValues,
        memory: KeysAndValues,
        mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
    ) -> Tensor:
        """Pass the query stream (N * K, T, C); the masks are those of :class:`Attention`."""
        return self._pass(query, self.query_norm(query), content, memory, mask, memory_mask)

    def content_stream(
        self,
        x: Tensor,
        content: KeysAndValues,
        memory: KeysAndValues,
        mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
    ) -> Tensor:
        """Pass the content stream (N * K, S, C); the masks are those of :class:`Attention`."""
        return self._pass(x, self.content_norm(x), content, memory, mask, memory_mask)

    def _pass(
        self,
        x: Tensor,
        normed: Tensor,
        content: KeysAndValues,
        memory: KeysAndValues,
        mask: Tensor | None,
        memory_mask: Tensor | None,
    ) -> Tensor:
        x = x + self.dropout(self.self_attention(normed, content, mask))
        x = x + self.dropout(self.memory_attention(self.memory_norm(x), memory, memory_mask))
        return x + self.dropout(self.feedforward(self.feedforward_norm(x)))


def initialize(module: nn.Module) -> None:
    """Draw weights as PARSeq does: narrow normal distributions, no bias."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.padding_idx is not None:
            with torch.no_grad():
                module.weight[module.padding_idx].zero_()
