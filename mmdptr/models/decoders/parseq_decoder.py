# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""PARSeq's decoder."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmocr.models.common.dictionary import Dictionary
from mmocr.models.textrecog.decoders.base import BaseDecoder
from mmocr.registry import MODELS
from mmocr.structures import TextRecogDataSample
from torch import Tensor, nn

from mmdptr.models.necks.fmu import padding_mask

from .greedy_decoding import KeyValueCache, decode_greedily, end_tokens, fill_steps
from .permutations import cloze_mask, reading_masks, sample_orders
from .two_stream_layer import TwoStreamLayer, initialize


@MODELS.register_module()
class PARSeqDecoder(BaseDecoder):
    """Permuted autoregressive decoder: one set of weights reads in any order.

    After PARSeq (Bautista and Atienza, ECCV 2022, arXiv 2207.06966). It is trained to predict
    characters in several orders at once, and therefore reads from left to right, all places at
    once, or a place from all others: which refines a text that was read before.

    Shapes: N samples, L slots of memory, K orders, T = ``max_seq_len`` - 1 places (the longest
    label and its end), C channels, M classes.

    Args:
        dictionary (dict or Dictionary): Dictionary with start, end and padding tokens.
        module_loss (dict, optional): Config of a :class:`PARSeqLoss`. Defaults to None.
        postprocessor (dict, optional): Config of an ``AttentionPostprocessor``. Defaults to None.
        max_seq_len (int): The longest label, with start and end. Defaults to 27.
        d_model (int): Channels of decoder and memory. Defaults to 384.
        n_layers (int): Layers. Defaults to 1.
        n_head (int): Attention heads. Defaults to 12.
        d_inner (int): Channels of the feed-forward layers. Defaults to 1536.
        dropout (float): Defaults to 0.1.
        num_orders (int): Orders K that a step of training draws. Defaults to 6.
        mirrored (bool): Whether every second order is the mirror image of the one before. Defaults
            to True.
        autoregressive (bool): Whether to read from left to right, else all places at once. Defaults
            to True.
        num_refinements (int): How often what was read is refined. Defaults to 1.
        init_cfg (dict or list[dict], optional): Initialization config. Defaults to None.

    Raises:
        ValueError: The dictionary lacks a special token, the heads do not divide the channels, or
            a number is below its least.
    """

    def __init__(
        self,
        dictionary: dict[str, Any] | Dictionary,
        module_loss: dict[str, Any] | None = None,
        postprocessor: dict[str, Any] | None = None,
        max_seq_len: int = 27,
        d_model: int = 384,
        n_layers: int = 1,
        n_head: int = 12,
        d_inner: int = 1536,
        dropout: float = 0.1,
        num_orders: int = 6,
        mirrored: bool = True,
        autoregressive: bool = True,
        num_refinements: int = 1,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(dictionary, module_loss, postprocessor, max_seq_len, init_cfg)
        numbers = {"max_seq_len": (max_seq_len, 3), "n_layers": (n_layers, 1)}
        for name, (number, least) in {**numbers, "num_orders": (num_orders, 1)}.items():
            if number < least:
                raise ValueError(f"PARSeqDecoder: {name} is {number}, expected {least} or more.")
        for token in ("start", "end", "padding"):
            if getattr(self.dictionary, f"{token}_idx") is None:
                raise ValueError(
                    f"PARSeqDecoder needs a dictionary with a {token} token. Set "
                    f"dictionary.with_{token}=True."
                )
        if d_model % n_head:
            raise ValueError(
                f"PARSeqDecoder: {n_head} heads do not divide {d_model} channels. Set n_head to a "
                "divisor."
            )
        self.num_orders = num_orders
        self.mirrored = mirrored
        self.autoregressive = autoregressive
        self.num_refinements = num_refinements
        classes = self.dictionary.num_classes
        self.embedding = nn.Embedding(classes, d_model, self.dictionary.padding_idx)
        self.places = nn.Parameter(torch.empty(max_seq_len - 1, d_model))
        self.layers: Any = nn.ModuleList(
            TwoStreamLayer(d_model, n_head, d_inner, dropout) for _ in range(n_layers)
        )
        self.norm = nn.LayerNorm(d_model)
        self.classifier = nn.Linear(d_model, classes)
        self.dropout = nn.Dropout(dropout)
        nn.init.trunc_normal_(self.places, std=0.02)
        self.apply(initialize)

    def forward_train(
        self,
        feat: Tensor | None = None,
        out_enc: Tensor | None = None,
        data_samples: Sequence[TextRecogDataSample] | None = None,
    ) -> Tensor:
        """Predict the targets in several orders, each place from those before it in the order.

        Args:
            feat (Tensor, optional): Backbone output of shape (N, C, H, W) or (N, L, C).
            out_enc (Tensor, optional): Encoder output of one of these shapes; goes before ``feat``.
            data_samples (list[TextRecogDataSample]): With targets and the ``valid_ratio`` of each.

        Returns:
            Tensor: Logits of shape (K, N, t, M), t <= T being the places of the longest label.
        """
        memory, memory_mask = self.read(feat, out_enc, data_samples)
        content, lengths, turns = self.draw(data_samples or ())
        return self.predict_in_orders(memory, content, lengths, turns, memory_mask)

    def draw(self, data_samples: Sequence[TextRecogDataSample]) -> tuple[Tensor, Tensor, Tensor]:
        """Draw orders for targets.

        Args:
            data_samples (list[TextRecogDataSample]): Samples with targets.

        Returns:
            tuple[Tensor, Tensor, Tensor]: ``content``, ``lengths`` and ``turns`` of
            :meth:`predict_in_orders`.
        """
        texts = torch.stack([x.gt_text.padded_indexes for x in data_samples])
        lengths = torch.tensor([len(x.gt_text.indexes) for x in data_samples])
        longest = int(lengths.max().clamp(1, self.max_seq_len - 2))
        turns = sample_orders(longest, self.num_orders, self.mirrored)
        return texts[:, : longest + 1], lengths, turns

    def predict_in_orders(
        self,
        memory: Tensor,
        content: Tensor,
        lengths: Tensor,
        turns: Tensor,
        memory_mask: Tensor | None = None,
    ) -> Tensor:
        """Predict all places from the others, under each order, in one pass.

        What does not depend on the order is computed once: the keys and values of the memory, and
        of the first layer's content. All orders read them as one long sequence.

        Args:
            memory (Tensor): Of shape (N, L, C).
            content (Tensor): Start token and characters, of shape (N, t), padded.
            lengths (Tensor): Characters a label, of shape (N,).
            turns (Tensor): Orders of shape (K, t + 1), see :func:`sample_orders`.
            memory_mask (Tensor, optional): Bool of shape (N, L), True where it may be read.
                Defaults to None: everywhere.

        Returns:
            Tensor: Logits of shape (K, N, t, M).
        """
        content = content.to(memory.device, non_blocking=True)
        written = torch.arange(content.shape[1]) <= lengths[:, None]
        written = written.to(memory.device, non_blocking=True)
        return self._predict(memory, content, written, *reading_masks(turns), memory_mask)

    def embed(self, content: Tensor) -> Tensor:
        """Embed a start token and characters (N, S), which know their places: (N, S, C)."""
        x = self.embedding(content) * math.sqrt(self.embedding.embedding_dim)
        places = torch.cat([torch.zeros_like(self.places[:1]), self.places])
        return x + places[: content.shape[1]]

    def forward_test(
        self,
        feat: Tensor | None = None,
        out_enc: Tensor | None = None,
        data_samples: Sequence[TextRecogDataSample] | None = None,
    ) -> Tensor:
        """Read, then refine what was read.

        Args:
            feat (Tensor, optional): See :meth:`forward_train`, as for the others.
            out_enc (Tensor, optional): Encoder output.
            data_samples (list[TextRecogDataSample], optional): With the ``valid_ratio`` of each.

        Returns:
            Tensor: Probabilities of shape (N, T, M).
        """
        memory, mask = self.read(feat, out_enc, data_samples)
        logits = self.read_places(memory, mask)
        for _ in range(self.num_refinements):
            logits = self.refine(memory, logits, mask)
        probabilities = logits.float().softmax(dim=-1)
        return fill_steps(probabilities, self.max_seq_len - 1, self.dictionary)

    def read_places(self, memory: Tensor, memory_mask: Tensor | None = None) -> Tensor:
        """Read in the way that ``autoregressive`` says: logits (N, t, M), t <= T."""
        way = self.decode if self.autoregressive else self.glance
        return way(memory, memory_mask)

    def decode(self, memory: Tensor, memory_mask: Tensor | None = None) -> Tensor:
        """Read from left to right; keys and values of memory and characters are kept.

        Args:
            memory (Tensor): Of shape (N, L, C).
            memory_mask (Tensor, optional): See :meth:`predict_in_orders`.

        Returns:
            Tensor: Logits of shape (N, t, M); it ends when all samples have.
        """
        steps = self.max_seq_len - 1
        memory_mask = None if memory_mask is None else memory_mask[:, None, None]
        caches = [(layer, KeyValueCache(steps), layer.read_memory(memory)) for layer in self.layers]
        start = memory.new_full((len(memory),), self.dictionary.start_idx, dtype=torch.long)

        def next_logits(tokens: Tensor, step: int) -> Tensor:
            """Return the logits (N, M) that follow the tokens (N,) of a step."""
            x = self.embedding(tokens[:, None]) * math.sqrt(self.embedding.embedding_dim)
            x = x + self.places[step - 1] if step else x
            query = self.places[step].expand(len(memory), 1, -1)
            for layer, cache, memory_read in caches:
                read = cache.append(*layer.read_content(x))
                query = layer.query_stream(query, read, memory_read, None, memory_mask)
                if layer is not self.layers[-1]:
                    x = layer.content_stream(x, read, memory_read, None, memory_mask)
            return self.classifier(self.norm(query[:, 0]))

        return decode_greedily(next_logits, start, steps, end_tokens(self))

    def glance(self, memory: Tensor, memory_mask: Tensor | None = None) -> Tensor:
        """Read all places at once, none from another: logits (N, T, M)."""
        start = memory.new_full((len(memory), 1), self.dictionary.start_idx, dtype=torch.long)
        mask = torch.ones(1, self.max_seq_len - 1, 1, dtype=torch.bool)
        return self._predict(memory, start, start >= 0, mask, mask[:, :1], memory_mask)[0]

    def refine(self, memory: Tensor, logits: Tensor, memory_mask: Tensor | None = None) -> Tensor:
        """Read each place again, from all others that were read before ("cloze").

        Args:
            memory (Tensor): Of shape (N, L, C).
            logits (Tensor): What was read, of shape (N, t, M).
            memory_mask (Tensor, optional): See :meth:`predict_in_orders`.

        Returns:
            Tensor: Logits of shape (N, T, M).
        """
        read = logits.argmax(dim=-1)
        start = torch.full_like(read[:, :1], self.dictionary.start_idx)
        content = torch.cat([start, read], dim=1)[:, : self.max_seq_len - 1]
        ended = (read == self.dictionary.end_idx).cumsum(dim=1) > 0
        written = torch.cat([start >= 0, ~ended], dim=1)[:, : content.shape[1]]
        size = content.shape[1]
        mask = cloze_mask(self.max_seq_len - 2)[None, :, :size]
        causal = torch.ones(1, size, size, dtype=torch.bool).tril()
        return self._predict(memory, content, written, mask, causal, memory_mask)[0]

    def _predict(
        self,
        memory: Tensor,
        content: Tensor,
        written: Tensor,
        of_query: Tensor,
        of_content: Tensor,
        memory_mask: Tensor | None,
    ) -> Tensor:
        """Predict the first T places from content under each order: logits (K, N, T, M).

        Args:
            memory (Tensor): Of shape (N, L, C).
            content (Tensor): Start token and characters, of shape (N, S).
            written (Tensor): Which of them there are to read, bool of shape (N, S).
            of_query (Tensor): Which content a place may read, bool of shape (K, T, S).
            of_content (Tensor): Which content content may read, bool of shape (K, S, S).
            memory_mask (Tensor, optional): Which memory may be read, bool of shape (N, L).
        """
        orders, size, _ = of_query.shape
        of_query = of_query.to(memory.device, non_blocking=True)
        of_content = of_content.to(memory.device, non_blocking=True)
        memory_mask = None if memory_mask is None else memory_mask[:, None, None]
        query = self.dropout(self.places[:size].expand(len(memory) * orders, -1, -1))
        x = self.dropout(self.embed(content))
        # The first layer reads one content; then each order has its own.
        for number, layer in enumerate(self.layers):
            apart = number > 0
            content_read, memory_read = layer.read_content(x), layer.read_memory(memory)
            mask = _readable(of_query, written, apart)
            query = layer.query_stream(query, content_read, memory_read, mask, memory_mask)
            if layer is not self.layers[-1]:
                mask = _readable(of_content, written, apart)
                x = x if apart else x.repeat_interleave(orders, dim=0)
                x = layer.content_stream(x, content_read, memory_read, mask, memory_mask)
        logits = self.classifier(self.norm(query))
        return logits.unflatten(0, (len(memory), orders)).transpose(0, 1)

    def read(
        self,
        feat: Tensor | None,
        out_enc: Tensor | None,
        data_samples: Sequence[TextRecogDataSample] | None,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the memory as a sequence (N, L, C), and which of it is image: (N, L) or None.

        Raises:
            ValueError: There is neither ``feat`` nor ``out_enc``.
        """
        memory = feat if out_enc is None else out_enc
        if memory is None:
            raise ValueError("PARSeqDecoder has nothing to read: neither `feat` nor `out_enc`.")
        if memory.dim() == 3:
            return memory, None
        ratios = [sample.get("valid_ratio", 1.0) for sample in data_samples or ()] or None
        padded = padding_mask((memory.shape[2], memory.shape[3]), ratios, memory.device)
        return memory.flatten(2).transpose(1, 2), None if padded is None else ~padded


def _readable(masks: Tensor, written: Tensor, apart: bool) -> Tensor:
    """Say who may read what, under several orders.

    Args:
        masks (Tensor): Who may read what, of shape (K, T, S).
        written (Tensor): What there is to read, of shape (N, S).
        apart (bool): Whether each order has content of its own.

    Returns:
        Tensor: Bool of shape (N, 1, K * T, S), or (N * K, 1, T, S) of content apart.
    """
    readable = masks & written[:, None, None]
    return readable.flatten(0, 1)[:, None] if apart else readable.flatten(1, 2)[:, None]
