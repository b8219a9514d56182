# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""A causal transformer of open_clip, run only on the tokens behind a common prefix."""

from typing import Any

import torch
from open_clip.transformer import ResidualAttentionBlock, Transformer
from torch import Tensor, nn
from torch.nn import functional as F

ATTENDING_TOKENS = 16
"""int: Own tokens that attend together: few products that are large rather than many small ones."""


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
        compile (bool): Whether to compile the blocks by ``torch.compile``, their parameters as
            constants: what is changed in them afterwards counts for nothing. Defaults to False.

    Raises:
        ValueError: A block of another type, whose arithmetic is not known here.
    """

    def __init__(self, transformer: Transformer, prefix: Tensor, compile: bool = False) -> None:
        for block in transformer.resblocks:
            if not is_plain(block):
                raise ValueError(
                    f"Expected blocks of type ResidualAttentionBlock, found {type(block).__name__}."
                    " This CLIP's text tower cannot be run from a cached prefix."
                )
        self.blocks: list[ResidualAttentionBlock] = list(transformer.resblocks)
        self.cache: list[tuple[Tensor, Tensor]] = []
        self.prefix = self._build_cache(prefix)
        self._run: Any = self._run_blocks
        if compile:  # with frozen parameters, Inductor lays out matrices as the CPU wants them
            self._run = torch.compile(self._run, dynamic=True, options={"freezing": True})

    def _build_cache(self, prefix: Tensor) -> Tensor:
        """Fill ``cache`` with keys and values (H, P, C / H) a block; return the states (P, C)."""
        x = prefix.unsqueeze(0)
        for block in self.blocks:
            query, key, value = _heads(block.attn, block.ln_1(x))
            self.cache.append((key[0].contiguous(), value[0].contiguous()))
            x = _finish(block, x, F.scaled_dot_product_attention(query, key, value, is_causal=True))
        return x[0]

    def __call__(self, x: Tensor, start: int) -> Tensor:
        """Run sequences that follow the first ``start`` tokens of the prefix.

        Sequences of few tokens attend in groups, one behind the other, under a mask that hides
        them from each other: fewer and larger products, and the prefix once a group.

        Args:
            x (Tensor): Input embeddings of the own tokens, positions added, of shape (N, S, C)
                with N sequences of S own tokens each.
            start (int): How many tokens of the prefix stand before them; at most P.

        Returns:
            Tensor: Output states of the own tokens, of shape (N, S, C).
        """
        number, length, width = x.shape
        groups = -(-number // max(1, ATTENDING_TOKENS // length))
        size = -(-number // groups)  # as even as can be; the last is filled up
        mask = _mask(size, length, start).to(x)
        x = F.pad(x, (0, 0, 0, 0, 0, groups * size - number)).reshape(groups, -1, width)
        return self._run(x, start, mask).reshape(-1, length, width)[:number]

    def _run_blocks(self, x: Tensor, start: int, mask: Tensor) -> Tensor:
        """Run groups (G, S, C) behind the first ``start`` tokens of the prefix, under ``_mask``."""
        for block, (prefix_key, prefix_value) in zip(self.blocks, self.cache, strict=True):
            query, key, value = _heads(block.attn, block.ln_1(x))
            key = torch.cat([prefix_key[:, :start].expand(len(x), -1, -1, -1), key], dim=2)
            value = torch.cat([prefix_value[:, :start].expand(len(x), -1, -1, -1), value], dim=2)
            x = _finish(block, x, _attend(query, key, value, mask))
        return x


def is_plain(block: nn.Module) -> bool:
    """Whether the arithmetic of a block is known here: open_clip's own, without cross-attention."""
    return type(block) is ResidualAttentionBlock and not hasattr(block, "ln_1_kv")


def _mask(size: int, length: int, start: int) -> Tensor:
    """Return what a group adds to its scores, of shape (S, P + S) with S = size * length.

    0 for the prefix and for a sequence's own tokens up to each one's place, else minus infinity.
    """
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    seen = F.pad(torch.block_diag(*[causal] * size), (start, 0), value=True)
    return torch.zeros(seen.shape).masked_fill(~seen, float("-inf"))


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Return what heads (G, H, S, C / H) see of keys and values; on so few, no kernel is faster."""
    scores = (query @ key.transpose(-1, -2)).float() * query.shape[-1] ** -0.5
    return (scores + mask).softmax(dim=-1).to(value) @ value


def _heads(attention: nn.MultiheadAttention, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Project (N, S, C) to queries, keys and values of shape (N, H, S, C / H) with H heads."""
    projected = F.linear(x, attention.in_proj_weight, attention.in_proj_bias)
    split = projected.unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    query, key, value = split.unbind()
    return query, key, value


def _finish(block: ResidualAttentionBlock, x: Tensor, attended: Tensor) -> Tensor:
    """Add the attention's output (N, H, S, C / H) and the MLP's to the states (N, S, C)."""
    x = x + block.ls_1(block.attn.out_proj(attended.transpose(1, 2).flatten(2)))
    return x + block.ls_2(block.mlp(block.ln_2(x)))
