# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""MASTER's decoder with a key/value cache."""

from collections.abc import Sequence

import torch
from mmcv.cnn.bricks.transformer import BaseTransformerLayer, MultiheadAttention
from mmocr.models.textrecog.decoders import MasterDecoder
from mmocr.registry import MODELS
from mmocr.structures import TextRecogDataSample
from torch import Tensor
from torch.nn import functional as F

from .greedy_decoding import (
    KeyValueCache,
    add_position,
    attend,
    decode_greedily,
    end_tokens,
    fill_steps,
    split_heads,
)

QUERY, READ = slice(0, 1), slice(1, 3)
"""slice: Which of the projections, stacked in one weight, make queries, and keys and values."""

LOWEST = -3e4
"""float: Whose exponential is 0 in every precision; float16 ends at -65504."""


@MODELS.register_module()
class CachedMasterDecoder(MasterDecoder):
    """MMOCR's MASTER decoder that reads the same text in a fraction of the time.

    MMOCR 1.0.1 decodes all earlier characters anew for each one, with the keys and values of the
    whole feature map. Here a step computes its own character only, and decoding stops when all
    samples of a batch have ended. Arguments, parameters and training are MMOCR's own, so weights
    of either class serve both.

    Shapes: N samples, L places of the feature map, T steps (``max_seq_len``), K classes, H heads,
    D channels of a head, C channels.
    """

    def make_target_mask(self, tgt: Tensor, device: torch.device) -> Tensor:
        """Return MMOCR's mask of targets (N, T), shape (N * H, T, T), which float16 can hold.

        In training padded targets see none of the others. MMOCR's -1e9 is infinite in float16, and
        their loss would be NaN though it does not count.
        """
        mask: Tensor = super().make_target_mask(tgt, device)
        return mask.clamp(min=LOWEST) if self.training else mask

    def forward_test(
        self,
        feat: Tensor | None = None,
        out_enc: Tensor | None = None,
        data_samples: Sequence[TextRecogDataSample] | None = None,
    ) -> Tensor:
        """Decode greedily.

        MMOCR masks what was read as padding by rows: that character attends to all others alike,
        those after it included, and so what follows it changes with each step. No cache can hold
        that; the samples where padding is read before the end, hardly any after training, are left
        to MMOCR.

        Args:
            feat (Tensor): Feature map of shape (N, C, H, W), or memory of shape (N, L, C).
            out_enc (Tensor, optional): Unused.
            data_samples (Sequence[TextRecogDataSample], optional): Unused.

        Returns:
            Tensor: Probabilities of shape (N, T, K). Steps after the last sample's end are padding.

        Raises:
            ValueError: There is no ``feat``.
        """
        if feat is None:
            raise ValueError("CachedMasterDecoder has nothing to read: `feat` is None.")
        memory = feat if feat.dim() == 3 else feat.flatten(2).transpose(1, 2)
        memory = self.feat_positional_encoding(memory)
        layers = [
            (layer, KeyValueCache(self.max_seq_len), _project(layer.attentions[1], memory, READ))
            for layer in self.decoder_layers
        ]
        start = torch.full((len(feat),), self.SOS, device=feat.device)

        def next_logits(tokens: Tensor, step: int) -> Tensor:
            x = add_position(self.positional_encoding, self.embedding(tokens[:, None]), step)
            for layer, cache, read in layers:
                x = _step(layer, x, cache, read)
            return self.cls(self.norm(x[:, 0]))

        ends = end_tokens(self)
        logits = decode_greedily(next_logits, start, self.max_seq_len, [*ends, self.PAD])
        probabilities = fill_steps(self.softmax(logits), self.max_seq_len, self.dictionary)
        tokens = logits.argmax(dim=-1)
        ended = torch.isin(tokens, tokens.new_tensor(ends)).cumsum(dim=1) > 0
        padded = ((tokens == self.PAD) & ~ended).any(dim=1)
        if padded.any():
            probabilities[padded] = super().forward_test(feat[padded]).float()
        return probabilities


def _step(
    layer: BaseTransformerLayer, x: Tensor, cache: KeyValueCache, memory: Sequence[Tensor]
) -> Tensor:
    """Run one layer on one character (N, 1, C), with the memory's keys and values."""
    own, cross = layer.attentions
    query, key, value = _project(own, layer.norms[0](x), slice(None))
    x = x + own.attn.out_proj(attend(query, *cache.append(key, value)))
    (query,) = _project(cross, layer.norms[1](x), QUERY)
    x = x + cross.attn.out_proj(attend(query, *memory))
    return layer.ffns[0](layer.norms[2](x), x)


def _project(attention: MultiheadAttention, x: Tensor, parts: slice) -> list[Tensor]:
    """Project (N, L, C) to some of query, keys and values, each of shape (N, H, L, D)."""
    weight = attention.attn.in_proj_weight.unflatten(0, (3, -1))[parts].flatten(0, 1)
    bias = attention.attn.in_proj_bias.unflatten(0, (3, -1))[parts].flatten()
    projected = F.linear(x, weight, bias).split(attention.embed_dims, dim=-1)
    return [split_heads(part, attention.num_heads) for part in projected]
