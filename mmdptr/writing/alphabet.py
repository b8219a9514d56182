# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The units that labels are made of: characters, and clusters of them that are read as one."""

from collections.abc import Collection
from pathlib import Path

import regex

CLUSTER = regex.compile(r"\X")


def graphemes(text: str) -> list[str]:
    """Split a text into what readers take for one character (Unicode's UAX 29).

    A letter and its combining marks stay together, and so do the parts of an Indic conjunct.
    """
    return list(text) if text.isascii() else CLUSTER.findall(text)


class Alphabet:
    """The classes of a dictionary, and how a label is made of them.

    A grapheme cluster that is a unit is one; any other is taken apart into its characters, so that
    a dictionary needs to have only the clusters that are frequent.

    Args:
        units (Collection[str]): Characters and grapheme clusters.

    Raises:
        ValueError: There are none, or one is several clusters, such as ``'<UKN>'``.
    """

    def __init__(self, units: Collection[str]) -> None:
        if not units:
            raise ValueError("The alphabet is empty. Give it some characters.")
        longer = [unit for unit in units if len(unit) != 1 and len(graphemes(unit)) != 1]
        if longer:
            raise ValueError(
                f"The alphabet has the entries {longer[:5]}, expected single characters or "
                "grapheme clusters: give them one by one, without special tokens such as '<UKN>'."
            )
        self.units = frozenset(units)
        self.has_clusters = any(len(unit) > 1 for unit in units)

    def split(self, text: str) -> list[str]:
        """Return the units of a text; characters that are none stand for themselves."""
        if not self.has_clusters or text.isascii():
            return list(text)
        found: list[str] = []
        for cluster in graphemes(text):
            if cluster in self.units:
                found.append(cluster)
            else:
                found.extend(cluster)
        return found


def read_alphabet(dict_file: str | Path) -> list[str]:
    """Read the units of a dictionary file, in their order.

    Args:
        dict_file (str or Path): One unit a line, in UTF-8 without a byte order mark; a line with a
            single space is the space, empty lines are skipped. It is MMOCR's format, in which a
            unit is always one character.

    Returns:
        list[str]: The units, without the special tokens that MMOCR adds.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no UTF-8, or a line holds several clusters or repeats an earlier one.
    """
    path = Path(dict_file)
    if not path.is_file():
        raise FileNotFoundError(f"No dictionary file at {path}. Give one with a character a line.")
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: found {error}, expected UTF-8. Convert it, e.g. with "
            "`iconv -f <its encoding> -t UTF-8`."
        ) from error
    numbers: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if len(line) > 1 and len(graphemes(line)) > 1:
            raise ValueError(
                f"{path}, line {number}: found {len(graphemes(line))} characters, {line[:40]!r}, "
                "expected one. Give each a line of its own, and save without a byte order mark."
            )
        if line in numbers:
            raise ValueError(
                f"{path}, line {number}: found {line!r}, which line {numbers[line]} has already. "
                "Remove one of them."
            )
        if line:
            numbers[line] = number
    return list(numbers)
