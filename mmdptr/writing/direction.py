# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""In which order characters stand beside each other."""

import unicodedata
from collections.abc import Sequence

RIGHT_TO_LEFT = {"R", "AL"}
"""set[str]: Unicode's directions of Hebrew, Arabic and their like."""
NUMBERS = {"EN", "AN"}


def visual_order(characters: Sequence[str]) -> list[int]:
    """Return the places of characters as they are seen from left to right.

    Unicode keeps text in logical order, as it is typed and read; in Arabic and Hebrew the first
    letter stands on the right, but numbers and Latin words in between run from left to right. This
    is Unicode's algorithm (UAX 9) for a line without explicit marks and brackets.

    Args:
        characters (Sequence[str]): L characters, or grapheme clusters.

    Returns:
        list[int]: A permutation of 0 to L - 1; the identity where nothing runs from right to left.
    """
    classes = [unicodedata.bidirectional(character[0]) for character in characters]
    if not RIGHT_TO_LEFT.intersection(classes):
        return list(range(len(characters)))
    first = next(x for x in classes if x == "L" or x in RIGHT_TO_LEFT)
    base = 0 if first == "L" else 1
    levels = [_level(x, base) for x in classes]
    _fill(levels, base)
    order = list(range(len(characters)))
    for level in (2, 1):
        begin = 0
        while begin < len(order):
            end = begin
            while end < len(order) and levels[order[end]] >= level:
                end += 1
            order[begin:end] = reversed(order[begin:end])
            begin = end + 1
    return order


def _level(direction: str, base: int) -> int:
    """Embedding level: odd ones run from right to left; -1 depends on what stands beside it."""
    if direction in RIGHT_TO_LEFT:
        return 1
    if direction == "L" or direction in NUMBERS:
        return 2 * base
    return -1


def _fill(levels: list[int], base: int) -> None:
    """Give characters without direction the level of both neighbours, or that of the line."""
    known = [i for i, level in enumerate(levels) if level >= 0]
    for i, level in enumerate(levels):
        if level < 0:
            left = [levels[k] for k in known if k < i][-1:]
            right = [levels[k] for k in known if k > i][:1]
            levels[i] = left[0] if left and left == right else base
