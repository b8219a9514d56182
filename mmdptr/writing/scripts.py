# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Which scripts a text is written in."""

from collections import Counter
from collections.abc import Iterable

from fontTools import unicodedata

COMMON = ("Zyyy", "Zinh", "Zzzz")  # of no script: digits, symbols, marks that any script uses


def script_name(character: str) -> str:
    """Return the English name of a character's script, such as ``'Bengali'``."""
    name: str = unicodedata.script_name(unicodedata.script(character))
    return name.replace("_", " ")


def scripts_of(characters: Iterable[str]) -> Counter[str]:
    """Count the characters of each script; digits and symbols of all scripts are ``'Common'``."""
    found: Counter[str] = Counter()
    for character in characters:
        common = unicodedata.script(character[0]) in COMMON
        found["Common" if common else script_name(character[0])] += 1
    return found
