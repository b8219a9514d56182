# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""A dictionary whose classes may be grapheme clusters."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmocr.models.common import Dictionary
from mmocr.registry import TASK_UTILS

from mmdptr.writing import Alphabet, read_alphabet

STAND_INS = 0xF0000  # the first private character of plane 15, where nobody's text is


@TASK_UTILS.register_module()
class GraphemeDictionary(Dictionary):
    """MMOCR's dictionary, for scripts in which a letter and its marks are one thing to read.

    A line of its file may be a grapheme cluster, such as a Bengali conjunct or a Thai consonant
    with its vowel. A label is split into the clusters that are classes; all others are spelled by
    their characters. ``max_seq_len`` of decoders and losses counts classes.

    Args:
        dict_file (str): One character or grapheme cluster a line; ``tools/build_dictionary.py``
            writes such files.
        **kwargs: Other arguments of ``mmocr.models.common.Dictionary``.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no UTF-8, or a line holds several clusters or repeats an earlier one.
    """

    def __init__(self, dict_file: str, **kwargs: Any) -> None:
        units = read_alphabet(dict_file)
        # MMOCR's constructor takes nothing but single characters.
        stand_ins = [chr(STAND_INS + i) for i in range(len(units))]
        with TemporaryDirectory() as folder:
            file = Path(folder) / "dict.txt"
            file.write_text("\n".join(stand_ins), encoding="utf-8")
            super().__init__(str(file), **kwargs)
        self._dict[: len(units)] = units
        self._char2idx = {unit: index for index, unit in enumerate(self._dict)}
        self.alphabet = Alphabet(units)

    def str2idx(self, string: str) -> list[int]:
        """Convert a text to the indexes of its units.

        Raises:
            Exception: The dictionary lacks one, and has no token for unknown ones.
        """
        return super().str2idx(self.alphabet.split(string))


def split_units(text: str, dictionary: Dictionary) -> list[str]:
    """Split a text as a dictionary does: MMOCR's own into characters."""
    if isinstance(dictionary, GraphemeDictionary):
        return dictionary.alphabet.split(text)
    return list(text)
