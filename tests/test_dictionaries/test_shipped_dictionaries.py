# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Labels of every language go through its dictionary and come back."""

from functools import cache
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdptr.datasets import LabelFilter, iter_corpora
from mmdptr.dictionaries import GraphemeDictionary
from mmdptr.writing import read_alphabet

DICTS = Path(__file__).parents[2] / "configs" / "_base_" / "dicts"
WORDS = 3000
CORPORA = {
    "arabic": ("ar", "fa", "ur"),
    "bengali": ("bn",),
    "chinese": ("zh",),
    "chinese-common": ("zh",),
    "european": (
        "de",
        "fr",
        "es",
        "it",
        "pt",
        "nl",
        "pl",
        "cs",
        "sv",
        "da",
        "fi",
        "hu",
        "ro",
        "tr",
    ),
    "greek": ("el",),
    "hindi": ("hi",),
    "japanese": ("ja",),
    "korean": ("ko",),
    "russian": ("ru",),
    "vietnamese": ("vi",),
    "all-scripts": ("bg", "bn", "el", "he", "mk", "ta", "uk", "zh"),
}
# Japanese, Tamil and others also write words of other scripts.
KEPT = 0.95


@cache
def parts(name: str) -> tuple[GraphemeDictionary, LabelFilter, list[str]]:
    file = DICTS / f"{name}.txt"
    dictionary = GraphemeDictionary(str(file), with_start=True, with_end=True, with_padding=True)
    units = read_alphabet(file)
    return dictionary, LabelFilter(characters=units, max_length=None), units


@pytest.mark.parametrize(
    ("name", "language"), [(name, x) for name, languages in CORPORA.items() for x in languages]
)
def test_words_come_back(name: str, language: str) -> None:
    dictionary, label_filter, _ = parts(name)
    words = list(islice(iter_corpora([f"wordfreq:{language}:{WORDS}"]), WORDS))
    labels = list(label_filter(words))
    assert len(labels) >= KEPT * (len(words) - label_filter.report.dropped["duplicate"])
    for label in labels:
        indexes = dictionary.str2idx(label)
        assert len(indexes) == len(label_filter.units(label)) <= len(label)
        assert dictionary.idx2str(indexes) == label


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("chinese", "護膚，體驗：“臉”（8.8￥）！"),  # traditional, with its own punctuation
        ("chinese-common", "她也吗？（好）"),  # frequent in text, in few of the words
        ("japanese", "（人々）「ゲーム」！"),
        ("korean", "「서울」·…"),
        ("all-scripts", "護膚：（体）「人々」"),
    ],
)
def test_what_signs_are_written_with_is_in(name: str, text: str) -> None:
    dictionary, label_filter, _ = parts(name)
    assert list(label_filter([text])) == [text]
    assert dictionary.idx2str(dictionary.str2idx(text)) == text


@pytest.mark.parametrize("name", ["all-scripts", "hindi", "thai"])
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_text_comes_back_or_is_reported(name: str, data: st.DataObject) -> None:
    anything = st.characters(exclude_categories=())  # surrogates, too
    dictionary, label_filter, units = parts(name)
    text = "".join(data.draw(st.lists(st.sampled_from(units) | anything, max_size=8)))
    labels = list(label_filter([text]))
    assert len(labels) + sum(label_filter.report.dropped.values()) == 1
    for label in labels:
        assert dictionary.idx2str(dictionary.str2idx(label)) == label
