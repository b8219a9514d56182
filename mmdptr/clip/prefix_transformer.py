# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""A causal transformer of open_clip, run only on the tokens behind a common prefix."""

import torch
from open_clip.transformer import ResidualAttentionBlock, Transformer
from torch import Tensor, nn
from torch.nn import functional as F


class PrefixTransformer:
    """Runs the residual blocks of a causal transformer with the prefix's keys and values cached.

    Under a causal mask a token sees only itself and what stands before it. The states of a prefix
    that many sequences share are therefore the same in all of them: they are computed once, and
    only their keys and values are needed by the tokens that follow. No parameter is copied; the
    blocks are read where they are.

    Args:
        transformer (open_clip.transformer.Transformer): The transformer to run. Its blocks must be
            open_clip's plain ``ResidualAttentionBlock``.
        prefix (Tensor): Input embeddings of the prefix, positions added, of shape (P, C) with P
            tokens of width C.

    Raises:
        ValueError: A block of another type, whose arithmetic is not known here.
    """

    def __init__(self, transformer: Transformer, prefix: Tensor) -> None:
        for block in transformer.resblocks:
            if type(block) is not ResidualAttentionBlock or hasattr(block, "ln_1_kv"):
                raise ValueError(
                    f"Expected blocks of type ResidualAttentionBlock, found {type(block).__name__}."
                    " This CLIP's text tower cannot be run from a cached prefix."
                )
        self.blocks: list[ResidualAttentionBlock] = list(transformer.resblocks)
        self.cache: list[tuple[Tensor, Tensor]] = []
        self.prefix = self._build_cache(prefix)

    def _build_cache(self, prefix: Tensor) -> Tensor:
        """Fill ``cache`` with keys and values (H, P, C / H) a block; return the states (P, C)."""
        x = prefix.unsqueeze(0)
        for block in self.blocks:
            query, key, value = _heads(block.attn, block.ln_1(x))
            self.cache.append((key[0], value[0]))
            x = _finish(block, x, F.scaled_dot_product_attention(query, key, value, is_causal=True))
        return x[0]

    def __call__(self, x: Tensor, start: int) -> Tensor:
        """Run sequences that follow the first ``start`` tokens of the prefix.

        Args:
            x (Tensor): Input embeddings of the own tokens, positions added, of shape (N, S, C)
                with N sequences of S own tokens each.
            start (int): How many tokens of the prefix stand before them; at most P.

        Returns:
            Tensor: Output states of the own tokens, of shape (N, S, C).
        """
        length = x.shape[1]
        own = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()
        mask = torch.cat([own.new_ones(length, start), own], dim=1)
        for block, (prefix_key, prefix_value) in zip(self.blocks, self.cache, strict=True):
            query, key, value = _heads(block.attn, block.ln_1(x))
            key = torch.cat([prefix_key[:, :start].expand(len(x), -1, -1, -1), key], dim=2)
            value = torch.cat([prefix_value[:, :start].expand(len(x), -1, -1, -1), value], dim=2)
            attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
            x = _finish(block, x, attended)
        return x


def _heads(attention: nn.MultiheadAttention, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Project (N, S, C) to queries, keys and values of shape (N, H, S, C / H) with H heads."""
    n, length, width = x.shape
    heads = attention.num_heads
    projected = F.linear(x, attention.in_proj_weight, attention.in_proj_bias)
    query, key, value = projected.view(n, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    return query, key, value


def _finish(block: ResidualAttentionBlock, x: Tensor, attended: Tensor) -> Tensor:
    """Add the attention's output (N, H, S, C / H) and the MLP's to the states (N, S, C)."""
    x = x + block.ls_1(block.attn.out_proj(attended.transpose(1, 2).flatten(2)))
    return x + block.ls_2(block.mlp(block.ln_2(x)))
