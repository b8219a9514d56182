# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""One slot a character, where CLIP's tokenizer takes several tokens for it."""

import dataclasses
import zlib
from collections.abc import Sequence
from itertools import pairwise

import torch

from .text_encoder import CLIPTextEncoder, TextFeatures


def character_ends(encoder: CLIPTextEncoder, label: str, ids: Sequence[int]) -> list[int]:
    """Find out where the characters of a spelled label end in its sentence.

    CLIP's byte-pair tokenizer knows the letters of most scripts as bytes only, and separates
    combining marks from their letters: a Bengali syllable is some six tokens. Visual features know
    nothing of bytes.

    Args:
        encoder (CLIPTextEncoder): Its prompt spells characters (grapheme clusters), or not.
        label (str): The label.
        ids (Sequence[int]): Its sentence's tokens, from :meth:`CLIPTextEncoder.tokenize`.

    Returns:
        list[int]: For each character minus the number of tokens behind it. Empty where tokens stay
        as they are: every character is one already, the label is not spelled, padding is kept (the
        paper's memory), or the tokenizer merges across characters.
    """
    characters = encoder.prompt.characters(label)
    if characters is None or label.isascii() or encoder.keep_padding:
        return []
    ends: list[int] = []
    sentence = encoder.prompt.prefix
    for character in characters:
        sentence += character
        beginning = encoder.sentences.encode_prefix(sentence)
        # The last token has another name where a quote follows a combining mark, or is in it.
        if list(ids[: len(beginning) - 1]) != beginning[:-1]:
            return []
        ends.append(len(beginning) - len(ids))
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
