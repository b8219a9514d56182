# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""One slot a character, where CLIP's tokenizer takes several tokens for it."""

import dataclasses
import zlib
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch

from .text_encoder import CLIPTextEncoder, TextFeatures, shared_beginning

NO_SLOT = "has characters that get no token of their own from CLIP's tokenizer"


class TokenizedLabel(NamedTuple):
    """A label as an encoder reads it.

    Args:
        ids (list[int]): Token ids of its sentence.
        ends (list[int]): Where its characters end, see :func:`character_ends`.
        fault (str | None): Why it cannot be encoded, None if it can.
    """

    ids: list[int]
    ends: list[int]
    fault: str | None


def tokenize_label(encoder: CLIPTextEncoder, label: str) -> TokenizedLabel:
    """Tokenize a label, and say whether it can be encoded.

    Args:
        encoder (CLIPTextEncoder): Its tokenizer is used, and nothing of its tower.
        label (str): The label.

    Returns:
        TokenizedLabel: Its faults are those of :meth:`CLIPTextEncoder.fault`, and ``NO_SLOT``.
    """
    ids = encoder.tokenize(label)
    if fault := encoder.fault(ids):
        return TokenizedLabel(ids, [], fault)
    ends = character_ends(encoder, label, ids)
    return TokenizedLabel(ids, ends or [], NO_SLOT if ends is None else None)


def character_ends(encoder: CLIPTextEncoder, label: str, ids: Sequence[int]) -> list[int] | None:
    """Find out where the characters of a spelled label end in its sentence.

    CLIP's byte-pair tokenizer knows the letters of most scripts as bytes only, separates combining
    marks from their letters, and a symbol that follows the prompt's quote from its own name: a
    Bengali syllable is some six tokens. Visual features know nothing of bytes.

    Args:
        encoder (CLIPTextEncoder): Its prompt spells characters (grapheme clusters), or not.
        label (str): The label.
        ids (Sequence[int]): Its sentence's tokens, from :meth:`CLIPTextEncoder.tokenize`.

    Returns:
        list[int] or None: For each character minus the number of tokens behind it. Empty where
        tokens stay as they are: every character is one already, the label is not spelled, or
        padding is kept (the paper's memory). None if a character has no token of its own: the
        tokenizer drops it (SigLIP's drops punctuation), or merges it with another.
    """
    characters = encoder.prompt.characters(label)
    if characters is None or encoder.keep_padding:
        return []
    if encoder.sentences.separates(encoder.prompt.prefix, "".join(characters)):
        return []
    ends: list[int] = []
    sentence = encoder.prompt.prefix
    before = shared_beginning(ids, encoder.prefix_ids) - len(ids)
    for number, character in enumerate(characters, start=1):
        sentence += character
        beginning = encoder.sentences.encode_prefix(sentence)
        end = len(beginning) - len(ids)
        if list(ids[: len(beginning)]) != beginning:
            if number < len(characters):
                return None
            # What follows makes one piece with the last character, a quote with a full stop.
            rest = encoder.sentences.encode(encoder.prompt.suffix)
            end = max(end, -shared_beginning(ids[::-1], rest[::-1]))
        if end <= before:
            return None
        ends.append(end)
        before = end
        sentence += " "
    return ends


def merge_characters(features: TextFeatures, ends: Sequence[Sequence[int]]) -> TextFeatures:
    """Give every character the mean of its tokens' features.

    Args:
        features (TextFeatures): Of N labels.
        ends (Sequence[Sequence[int]]): For each label what :func:`character_ends` found.

    Returns:
        TextFeatures: With one token a character, then what follows the label. The id of a merged
        token is made of those of its parts, and negative, so that equal characters have equal ids.
    """
    if not any(ends):
        return features
    rows, ids, lengths = [], [], []
    own = zip(
        features.tokens.split(features.lengths.tolist()),
        features.token_ids.split(features.lengths.tolist()),
        ends,
        strict=True,
    )
    for tokens, token_ids, stops in own:
        bounds = [0, *(len(tokens) + stop for stop in stops)]
        bounds += range(bounds[-1] + 1, len(tokens) + 1)
        parts = [(a, b) for a, b in pairwise(bounds) if a < b]
        rows += [tokens[a:b].mean(dim=0) for a, b in parts]
        ids += [merged_id(token_ids[a:b].tolist()) for a, b in parts]
        lengths.append(len(parts))
    return dataclasses.replace(
        features,
        tokens=torch.stack(rows),
        token_ids=torch.tensor(ids),
        lengths=torch.tensor(lengths),
    )


def merged_id(ids: Sequence[int]) -> int:
    """Return a token's own id, or one below -1 for several, of 31 bits (-1 is the pooled feature).

    Two characters share one by chance in a billion, and nothing but slot mixing reads it.
    """
    if len(ids) == 1:
        return ids[0]
    return -2 - (zlib.crc32(repr(tuple(ids)).encode()) >> 2)
