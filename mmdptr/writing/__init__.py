# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""How scripts write words: characters, cases, the units of a dictionary."""

from .alphabet import Alphabet, graphemes, read_alphabet
from .dictionary_draft import DictionaryDraft, draft_dictionary
from .direction import visual_order
from .letter_case import LETTER_CASES, change_case
from .scripts import characters_of, count_scripts, scripts_of

__all__ = [
    "LETTER_CASES",
    "Alphabet",
    "DictionaryDraft",
    "change_case",
    "characters_of",
    "count_scripts",
    "draft_dictionary",
    "graphemes",
    "read_alphabet",
    "scripts_of",
    "visual_order",
]
