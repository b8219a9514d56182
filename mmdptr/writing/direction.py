# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""In which order characters stand beside each other."""

import unicodedata
from collections.abc import Sequence

import regex

# Unicode's directions as one letter each: L runs from left to right, R and A (Arabic) from right to
# left, E and N are European and Arabic digits, M is a mark, and O what has no direction. Signs that
# go with digits are + between European ones, a comma between any of one kind, % beside European.
LETTERS = {
    "L": "L", "R": "R", "AL": "A", "EN": "E", "AN": "N", "NSM": "M", "ES": "+", "CS": ",", "ET": "%"
}  # fmt: skip
RULES = [
    (regex.compile(pattern), letter)
    for pattern, letter in (
        (r"(?<=A[^LR]*)E", "N"),  # W2
        (r"A", "R"),  # W3
        (r"(?<=E)[+,](?=E)", "E"),  # W4
        (r"(?<=N),(?=N)", "N"),
        (r"(?<=E%*)%|%(?=%*E)", "E"),  # W5
        (r"[+,%]", "O"),  # W6
        (r"(?<=L[^R]*)E", "L"),  # W7
        (r"(?<=LO*)O(?=O*L)", "L"),  # N1
        (r"(?<=[REN]O*)O(?=O*[REN])", "R"),
    )
]


def visual_order(characters: Sequence[str]) -> list[int]:
    """Return the places of characters as they are seen from left to right.

    Unicode keeps text in logical order, as it is typed and read; in Arabic and Hebrew the first
    letter stands on the right, but numbers and Latin words in between run from left to right. This
    is Unicode's algorithm (UAX 9) for one line, without its rules for explicit marks, tabs and
    pairs of brackets.

    Args:
        characters (Sequence[str]): L characters, or grapheme clusters.

    Returns:
        list[int]: A permutation of 0 to L - 1; the identity where nothing runs from right to left.
    """
    letters = "".join(LETTERS.get(unicodedata.bidirectional(x[0]), "O") for x in characters)
    order = list(range(len(characters)))
    if not {"R", "A", "N"}.intersection(letters):
        return order
    base = "L" if next((x for x in letters if x in "LRA"), "L") == "L" else "R"
    levels = _levels(letters, base)
    for level in (2, 1):
        begin = 0
        while begin < len(order):
            end = begin
            while end < len(order) and levels[order[end]] >= level:
                end += 1
            order[begin:end] = reversed(order[begin:end])
            begin = end + 1
    return order


def _levels(letters: str, base: str) -> list[int]:
    """Return how deep each character is nested: odd levels run from right to left."""
    line = base + letters + base  # both ends of a line count as letters of its direction
    line = regex.sub(r"(.)M+", lambda found: found[1] * len(found[0]), line)  # W1
    for pattern, letter in RULES:
        line = pattern.sub(letter, line)
    line = line.replace("O", base)  # N2
    levels = {"L": 0 if base == "L" else 2, "R": 1, "E": 2, "N": 2}  # I1, I2
    return [levels[x] for x in line[1:-1]]
