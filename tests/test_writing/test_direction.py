# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmdptr.writing import graphemes, visual_order

# Written here as they are seen, from left to right, one character after the other.
SEEN = {
    "hello": "hello",
    "c3-po": "c3-po",
    "شاي": "ي|ا|ش",
    "שלום": "ם|ו|ל|ש",
    "غرفة 12": "1|2| |ة|ف|ر|غ",
    "גיל 3.5": "3|.|5| |ל|י|ג",
    "abc שלום": "a|b|c| |ם|ו|ל|ש",
    "שלום abc": "a|b|c| |ם|ו|ל|ש",
    "مُدَرِّس": "س|رِّ|دَ|مُ",
    "42": "42",
    # Signs stand as numbers do, or as the line runs.
    "ב-50%": "5|0|%|-|ב",
    "מחיר 100₪": "1|0|0|₪| |ר|י|ח|מ",
    "₪100 מבצע": "ע|צ|ב|מ| |₪|1|0|0",
    "10-20אב": "ב|א|1|0|-|2|0",
    "א1,234": "1|,|2|3|4|א",
    "א1--2": "2|-|-|1|א",
    "bאב12": "b|1|2|ב|א",
    "אב12cd": "1|2|c|d|ב|א",
    "b-א": "b|-|א",
    "bא-ב!": "b|ב|-|א|!",
    # After Arabic letters, unlike Hebrew ones, a percent sign is none of the number's.
    "سعر 50%": "%|5|0| |ر|ع|س",
    "سعر 5-6": "6|-|5| |ر|ع|س",
    "سعر ٥٫٥": "٥|٫|٥| |ر|ع|س",
    "bس12": "b|1|2|س",
    "٥-٦": "٦|-|٥",  # so it is without letters
    # A mark without a letter goes where what is before it goes.
    ("\u0301", "א", "5", "\u0301", "%", "\u0301"): "5|\u0301|%|\u0301|א|\u0301",
}
"""dict[str or tuple, str]: A text, or its characters, and how it is seen; as python-bidi has it."""


@pytest.mark.parametrize("text", SEEN)
def test_characters_stand_as_they_are_seen(text: str | tuple[str, ...]) -> None:
    characters = graphemes(text) if isinstance(text, str) else text
    seen = [characters[i] for i in visual_order(characters)]
    assert seen == (SEEN[text].split("|") if "|" in SEEN[text] else list(SEEN[text]))


@given(st.text(st.characters(codec="utf-8"), max_size=20))
def test_it_is_a_permutation_of_any_text(text: str) -> None:
    characters = graphemes(text)
    assert sorted(visual_order(characters)) == list(range(len(characters)))
