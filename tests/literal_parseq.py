# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""PARSeq as the paper writes it (arXiv 2207.06966), one order after the other and nothing kept.

It uses the weights of a :class:`PARSeqDecoder`, and none of its arithmetic. A text has the tokens 0
(start), 1 to L and L + 1 (end); a sequence lists the tokens as they are decoded, from 0 on.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from mmdptr.models import PARSeqDecoder
from mmdptr.models.decoders.two_stream_layer import Attention, TwoStreamLayer


def sequences_of(turns: Tensor) -> list[list[int]]:
    """Turn the turn of each token into the sequence of tokens."""
    return [sorted(range(len(order)), key=order.__getitem__) for order in turns.tolist()]


def readable_by_query(sequence: Sequence[int]) -> Tensor:
    """The mask (L + 1, L + 1) by which the tokens 1 to L + 1 read 0 to L when predicted."""
    size = len(sequence) - 1
    mask = torch.zeros(size, size, dtype=torch.bool)
    for turn, token in enumerate(sequence):
        for earlier in sequence[:turn]:
            if earlier < size:  # the end is no content
                mask[token - 1, earlier] = True
    return mask


def readable_by_content(sequence: Sequence[int]) -> Tensor:
    """The mask (L + 1, L + 1) by which the tokens 0 to L read each other and themselves."""
    size = len(sequence) - 1
    mask = torch.eye(size, dtype=torch.bool)
    for turn, token in enumerate(sequence):
        for earlier in sequence[:turn]:
            if earlier < size and token < size:
                mask[token, earlier] = True
    return mask


def attend(attention: Attention, x: Tensor, source: Tensor, mask: Tensor | None) -> Tensor:
    """Multi-head attention; the mask is (N, T, S) or None."""
    query = attention.query(x)
    key, value = attention.key_value(source).chunk(2, dim=-1)
    # The heads stand beside each other: (N, H, T, C / H).
    query, key, value = (
        part.unflatten(-1, (attention.heads, -1)).transpose(1, 2) for part in (query, key, value)
    )
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None], -math.inf)
    return attention.output((scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2))


def run_layer(
    layer: TwoStreamLayer, x: Tensor, normed: Tensor, source: Tensor, memory: Tensor, mask: Tensor
) -> Tensor:
    """Self-attention, attention to the memory, feed-forward; all with residuals."""
    x = x + attend(layer.self_attention, normed, source, mask)
    x = x + attend(layer.memory_attention, layer.memory_norm(x), memory, None)
    return x + layer.feedforward(layer.feedforward_norm(x))


def predict(
    decoder: PARSeqDecoder, memory: Tensor, content: Tensor, of_query: Tensor, of_content: Tensor
) -> Tensor:
    """Logits (N, T, M) of the first T places; the masks are (N, T, S) and (N, S, S)."""
    x = decoder.embedding(content) * math.sqrt(decoder.embedding.embedding_dim)
    for place in range(1, content.shape[1]):
        x[:, place] = x[:, place] + decoder.places[place - 1]
    query = decoder.places[: of_query.shape[1]].expand(len(memory), -1, -1)
    for layer in decoder.layers:
        source = layer.content_norm(x)
        new = run_layer(layer, query, layer.query_norm(query), source, memory, of_query)
        x = run_layer(layer, x, layer.content_norm(x), source, memory, of_content)
        query = new
    return decoder.classifier(decoder.norm(query))


def loss(
    decoder: PARSeqDecoder, memory: Tensor, texts: Sequence[Sequence[int]], turns: Tensor
) -> Tensor:
    """The training loss of texts (indices without special tokens), one order after the other."""
    tokens, longest = decoder.dictionary, max(map(len, texts))
    padding = tokens.padding_idx
    content = torch.full((len(texts), longest + 1), padding)
    target = torch.full((len(texts), longest + 1), padding)
    for row, text in enumerate(texts):
        content[row, : len(text) + 1] = torch.tensor([tokens.start_idx, *text])
        target[row, : len(text) + 1] = torch.tensor([*text, tokens.end_idx])
    lengths = torch.tensor([[len(text)] for text in texts])
    written = torch.arange(longest + 1) <= lengths
    total, number = torch.zeros(()), 0
    for count, sequence in enumerate(sequences_of(turns)):
        of_query = readable_by_query(sequence) & written[:, None]
        of_content = readable_by_content(sequence) & written[:, None]
        logits = predict(decoder, memory, content, of_query, of_content)
        expected = torch.arange(longest + 1) < lengths + (count < 2)  # the end only in two orders
        total = total + F.cross_entropy(logits[expected], target[expected], reduction="sum")
        number += int(expected.sum())
    return total / number


def decode(decoder: PARSeqDecoder, memory: Tensor) -> Tensor:
    """Logits (N, T, M) of reading from left to right; everything is computed anew in each step."""
    steps = decoder.max_seq_len - 1
    content = torch.full((len(memory), 1), decoder.dictionary.start_idx)
    for step in range(steps):
        causal = torch.ones(step + 1, step + 1, dtype=torch.bool).tril().expand(len(memory), -1, -1)
        logits = predict(decoder, memory, content, causal, causal)
        content = torch.cat([content, logits[:, -1:].argmax(dim=-1)], dim=1)
    return logits


def refine(decoder: PARSeqDecoder, memory: Tensor, logits: Tensor) -> Tensor:
    """Logits (N, T, M) of reading each place again, from all others before the end."""
    places, end = decoder.max_seq_len - 1, decoder.dictionary.end_idx
    read = logits.argmax(dim=-1)
    start = torch.full((len(memory), 1), decoder.dictionary.start_idx)
    content = torch.cat([start, read[:, : places - 1]], dim=1)
    written = torch.ones_like(content, dtype=torch.bool)
    for row, text in enumerate(read.tolist()):
        if end in text:
            written[row, text.index(end) + 1 :] = False
    cloze = torch.ones(places, places, dtype=torch.bool)
    for place in range(places - 1):
        cloze[place, place + 1] = False
    causal = torch.ones(places, places, dtype=torch.bool).tril()
    return predict(decoder, memory, content, cloze & written[:, None], causal & written[:, None])
