# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Which scripts a text is written in."""

import sys
from collections import Counter
from collections.abc import Iterable

from fontTools import unicodedata

COMMON = {"Zyyy", "Zinh", "Zzzz"}  # of no script: digits, symbols, marks that any script uses


def scripts_of(unit: str) -> set[str]:
    """Return the scripts that use a character or cluster, by their English names.

    Digits, symbols and the like, which any script may use, are ``'Common'``; the Japanese length
    mark is of Hiragana and Katakana.
    """
    codes = unicodedata.script_extension(unit[0])
    return {script_name(code) for code in codes - COMMON} or {"Common"}


def script_name(code: str) -> str:
    """Return the English name of a script, such as Greek for ``'Grek'``."""
    return str(unicodedata.script_name(code)).replace("_", " ")


def script_code(name: str) -> str:
    """Return the code of a script, such as ``'Grek'`` for Greek, in upper or lower case.

    Raises:
        ValueError: Unicode has no script of this English name.
    """
    code = unicodedata.script_code(name, default="")
    if not code:
        raise ValueError(f"Unicode has no script {name!r}. Expected e.g. 'Telugu' or 'Hebrew'.")
    return code


def characters_of(script: str) -> list[str]:
    """Return all letters, marks and digits of a script, by code points.

    Raises:
        ValueError: Unicode has no script of this English name.
    """
    code = script_code(script)
    return [
        character
        for character in map(chr, range(sys.maxunicode + 1))
        if unicodedata.script(character) == code and unicodedata.category(character)[0] in "LMN"
    ]


def count_scripts(units: Iterable[str]) -> Counter[str]:
    """Count the units of each script.

    Each counts once: a character that several scripts share, such as the Japanese length mark or an
    accent, is ``'Common'`` here unless Unicode names one script as its own.
    """
    codes = Counter(unicodedata.script(unit[0]) for unit in units)
    counts: Counter[str] = Counter()
    for code, count in codes.items():
        counts["Common" if code in COMMON else script_name(code)] += count
    return counts
