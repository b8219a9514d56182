# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""NRTR's decoder with a key/value cache."""

from collections.abc import Sequence

import torch
from mmocr.models.common import TFDecoderLayer
from mmocr.models.common.modules import MultiHeadAttention
from mmocr.models.textrecog.decoders import NRTRDecoder
from mmocr.registry import MODELS
from mmocr.structures import TextRecogDataSample
from torch import Tensor

from mmdptr.models.necks.fmu import padding_mask

from .greedy_decoding import (
    KeyValueCache,
    add_position,
    attend,
    decode_greedily,
    end_tokens,
    fill_steps,
    split_heads,
)


@MODELS.register_module()
class CachedNRTRDecoder(NRTRDecoder):
    """MMOCR's NRTR decoder, of SATRN also, that reads the same text in a fraction of the time.

    MMOCR 1.0.1 decodes all ``max_seq_len`` positions anew for each character. Here a step computes
    its own character only: keys and values of earlier characters and of the memory are kept, and
    decoding stops when all samples of a batch have ended. In training, targets are copied to the
    device at once instead of one by one, and a mask that hides nothing is left out. Arguments,
    parameters and numbers are MMOCR's own, so weights of either class serve both.

    Shapes: N samples, L slots of memory, T steps (``max_seq_len``), K classes, H heads, D channels
    of a head, C channels.
    """

    def forward_train(
        self,
        feat: Tensor | None = None,
        out_enc: Tensor | None = None,
        data_samples: Sequence[TextRecogDataSample] | None = None,
    ) -> Tensor:
        """Compute logits of all places at once.

        Args:
            feat (Tensor, optional): Unused.
            out_enc (Tensor): Memory of shape (N, L, C).
            data_samples (Sequence[TextRecogDataSample]): With targets; ``valid_ratio`` of each says
                which part of the memory is image; without it, all.

        Returns:
            Tensor: Logits of shape (N, T, K).

        Raises:
            ValueError: There is no ``out_enc``.
        """
        memory, data_samples = self._memory(out_enc), data_samples or ()
        targets = torch.stack([sample.gt_text.padded_indexes for sample in data_samples])
        targets = targets.to(memory.device, non_blocking=True)
        return self.classifier(self._attention(targets, memory, self._mask(memory, data_samples)))

    def forward_test(
        self,
        feat: Tensor | None = None,
        out_enc: Tensor | None = None,
        data_samples: Sequence[TextRecogDataSample] | None = None,
    ) -> Tensor:
        """Decode greedily.

        Args:
            feat (Tensor, optional): Unused.
            out_enc (Tensor): Memory of shape (N, L, C).
            data_samples (Sequence[TextRecogDataSample], optional): ``valid_ratio`` of each says
                which part of the memory is image; without it, all. Defaults to None.

        Returns:
            Tensor: Probabilities of shape (N, T, K). Steps after the last sample's end are padding.

        Raises:
            ValueError: There is no ``out_enc``.
        """
        memory = self._memory(out_enc)
        source_mask = self._mask(memory, data_samples or ())
        layers = [
            (layer, KeyValueCache(self.max_seq_len), _keys_and_values(layer.enc_attn, memory))
            for layer in self.layer_stack
        ]
        start = torch.full((len(memory),), self.start_idx, device=memory.device)
        # MMOCR hides what was read as padding from all later characters, and from itself.
        target_mask = start.new_ones(len(start), self.max_seq_len, dtype=torch.bool)

        def next_logits(tokens: Tensor, step: int) -> Tensor:
            """Return the logits (N, K) that follow the tokens (N,) of a step."""
            target_mask[:, step] = tokens != self.padding_idx
            x = add_position(self.position_enc, self.trg_word_emb(tokens[:, None]), step)
            for layer, cache, read in layers:
                x = _step(layer, x, cache, read, (target_mask[:, : step + 1], source_mask))
            return self.classifier(self.layer_norm(x[:, 0]))

        logits = decode_greedily(next_logits, start, self.max_seq_len, end_tokens(self))
        return fill_steps(self.softmax(logits), self.max_seq_len, self.dictionary)

    def _memory(self, out_enc: Tensor | None) -> Tensor:
        if out_enc is None:
            raise ValueError(f"{type(self).__name__} has nothing to read: `out_enc` is None.")
        return out_enc

    def _mask(self, memory: Tensor, data_samples: Sequence[TextRecogDataSample]) -> Tensor | None:
        """Return which memory may be read, bool of shape (N, L); None if all may."""
        padded = padding_mask(
            (1, memory.shape[1]), [x.get("valid_ratio", 1.0) for x in data_samples], memory.device
        )
        return None if padded is None else ~padded


def _step(
    layer: TFDecoderLayer,
    x: Tensor,
    cache: KeyValueCache,
    memory: tuple[Tensor, Tensor],
    masks: tuple[Tensor, Tensor | None],
) -> Tensor:
    """Run one layer on one character (N, 1, C), with the masks of characters and of memory."""
    # As in MMOCR, sums take the dtype of their first part; under autocast that matters.
    normed = layer.norm1(x)
    read = cache.append(*_keys_and_values(layer.self_attn, normed))
    x = _attend(layer.self_attn, normed, read, masks[0]).add_(x)
    x = _attend(layer.enc_attn, layer.norm2(x), memory, masks[1]).add_(x)
    return layer.mlp(layer.norm3(x)).add_(x)


def _keys_and_values(attention: MultiHeadAttention, x: Tensor) -> tuple[Tensor, Tensor]:
    """Project (N, L, C) to keys and values, each of shape (N, H, L, D)."""
    key, value = attention.linear_k(x), attention.linear_v(x)
    return split_heads(key, attention.n_head), split_heads(value, attention.n_head)


def _attend(
    attention: MultiHeadAttention, x: Tensor, read: tuple[Tensor, Tensor], mask: Tensor | None
) -> Tensor:
    """Read keys and values with queries (N, 1, C)."""
    query = split_heads(attention.linear_q(x), attention.n_head)
    return attention.fc(attend(query, *read, mask))
