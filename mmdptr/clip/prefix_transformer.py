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
        compile (bool): Whether to compile a block by ``torch.compile``: one program for all of
            them, which takes a twelfth of the time that compiling the whole does. Defaults to
            False.

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
        self._run_block = torch.compile(_run_block, dynamic=True) if compile else _run_block

    def _build_cache(self, prefix: Tensor) -> Tensor:
        """Fill ``cache`` with keys and values (H, P, C / H) a block; return the states (P, C)."""
        x = prefix.unsqueeze(0)
        for block in self.blocks:
            query, key, value = _heads(block.attn, block.ln_1(x))
            self.cache.append((key[:, 0].contiguous(), value[:, 0].contiguous()))
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
        future = x.new_full((length, length), float("-inf"), dtype=torch.float32).triu(1)
        for block, (key, value) in zip(self.blocks, self.cache, strict=True):
            x = self._run_block(block, x, key[:, :start], value[:, :start], future)
        return x


def is_plain(block: nn.Module) -> bool:
    """Whether the arithmetic of a block is known here: open_clip's own, without cross-attention."""
    return type(block) is ResidualAttentionBlock and not hasattr(block, "ln_1_kv")


def _run_block(
    block: ResidualAttentionBlock,
    x: Tensor,
    prefix_key: Tensor,
    prefix_value: Tensor,
    future: Tensor,
) -> Tensor:
    """Run states (N, S, C) of own tokens through a block; see :func:`_attend` for the others."""
    own = _heads(block.attn, block.ln_1(x))
    return _finish(block, x, _attend(*own, prefix_key, prefix_value, future))


def _heads(attention: nn.MultiheadAttention, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Project (N, S, C) to queries, keys and values of shape (H, N, S, C / H) with H heads."""
    projected = F.linear(x, attention.in_proj_weight, attention.in_proj_bias)
    split = projected.unflatten(-1, (3, attention.num_heads, -1)).permute(2, 3, 0, 1, 4)
    query, key, value = split.unbind()
    return query, key, value


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    prefix_key: Tensor,
    prefix_value: Tensor,
    future: Tensor,
) -> Tensor:
    """Attend to the prefix and to the own tokens up to each one's place.

    The prefix is the same for all sequences: one product with it serves them all, without a copy
    of its keys and values for each, and faster than a fused kernel for so few tokens a sequence.

    Args:
        query (Tensor): Of shape (H, N, S, D) with H heads of width D, as the next two.
        key (Tensor): Keys of the own tokens.
        value (Tensor): Values of the own tokens.
        prefix_key (Tensor): Of shape (H, P, D), as the next.
        prefix_value (Tensor): Values of the prefix.
        future (Tensor): Minus infinity where a token is yet to come, else 0, of shape (S, S).

    Returns:
        Tensor: Of shape (H, N, S, D).
    """
    number, length, width = query.shape[1:]
    query = (query * width**-0.5).flatten(1, 2)
    to_prefix = (query @ prefix_key.mT).unflatten(1, (number, length))
    to_own = query.unflatten(1, (number, length)) @ key.mT
    scores = torch.cat([to_prefix.float(), to_own.float() + future], dim=-1)
    weights = scores.softmax(dim=-1).to(value.dtype)
    of_prefix, of_own = weights.split([prefix_key.shape[1], length], dim=-1)
    from_prefix = of_prefix.flatten(1, 2) @ prefix_value
    return from_prefix.unflatten(1, (number, length)) + of_own @ value


def _finish(block: ResidualAttentionBlock, x: Tensor, attended: Tensor) -> Tensor:
    """Add the attention's output (H, N, S, C / H) and the MLP's to the states (N, S, C)."""
    x = x + block.ls_1(block.attn.out_proj(attended.permute(1, 2, 0, 3).flatten(2)))
    return x + block.ls_2(block.mlp(block.ln_2(x)))
