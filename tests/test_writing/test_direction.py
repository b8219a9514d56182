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
}


@pytest.mark.parametrize("text", SEEN)
def test_characters_stand_as_they_are_seen(text: str) -> None:
    characters = graphemes(text)
    seen = [characters[i] for i in visual_order(characters)]
    assert seen == (SEEN[text].split("|") if "|" in SEEN[text] else list(SEEN[text]))


@given(st.text(st.characters(codec="utf-8"), max_size=20))
def test_it_is_a_permutation_of_any_text(text: str) -> None:
    characters = graphemes(text)
    assert sorted(visual_order(characters)) == list(range(len(characters)))
