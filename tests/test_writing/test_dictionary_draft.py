# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmdptr.writing import Alphabet, draft_dictionary

labels = st.lists(st.text("abé\u0301ক্সা日", min_size=1, max_size=6), min_size=1, unique=True)


@given(labels, st.integers(1, 3), st.booleans())
def test_the_dictionary_holds_all_labels_but_the_lost(
    texts: list[str], min_count: int, clusters: bool
) -> None:
    draft = draft_dictionary(texts, min_count, clusters)
    assert draft.labels == len(texts)
    if not draft.kept:
        assert draft.lost == len(texts)
        return
    alphabet = Alphabet(draft.kept)
    held = [text for text in texts if alphabet.units.issuperset(alphabet.split(text))]
    assert len(held) == len(texts) - draft.lost
    assert draft.longest == max((len(alphabet.split(text)) for text in held), default=0)
    assert list(draft.kept) == sorted(draft.kept)
    assert all(count >= min_count for count in draft.kept.values())
    assert all(count < min_count for count in draft.dropped.values())
    assert clusters or all(len(unit) == 1 for unit in draft.kept)


def test_a_rare_cluster_is_spelled_and_a_rare_character_costs_its_labels() -> None:
    texts = ["কা", "কাম", "মকা", "কি", "মি", "মxি"]
    draft = draft_dictionary(texts, min_count=2, clusters=True)
    assert dict(draft.kept) == {"কা": 3, "ম": 4, "ি": 3}
    assert dict(draft.dropped) == {"ক": 1, "x": 1}
    assert draft.examples == ("কি", "মxি")
    assert (draft.lost, draft.longest) == (2, 2)


def test_some_characters_are_kept_in_any_case() -> None:
    draft = draft_dictionary(["ab", "ab1"], min_count=2, always="01")
    assert dict(draft.kept) == {"0": 0, "1": 1, "a": 2, "b": 2}
    assert draft.lost == 0


def test_other_scripts_are_left_out() -> None:
    draft = draft_dictionary(["abж", "a-1", "b"], always="-", scripts=["Latin"])
    assert dict(draft.kept) == {"-": 1, "a": 2, "b": 2}
    assert dict(draft.dropped) == {"ж": 1, "1": 1}
    assert (draft.lost, draft.longest) == (2, 1)


def test_scripts_may_be_written_in_any_case() -> None:
    assert [*draft_dictionary(["aж১"], scripts=["bengali", "CYRILLIC"]).kept] == ["ж", "১"]
    with pytest.raises(ValueError, match="no script 'Bengal'"):
        draft_dictionary(["a"], scripts=["Latin", "Bengal"])


def test_scripts_and_look_alikes_are_named() -> None:
    draft = draft_dictionary(["a0", "оO", "аc"])  # the second o and the second a are Cyrillic
    assert draft.scripts() == {"Latin": 3, "Cyrillic": 2, "Common": 1}
    assert ("a", "а") in draft.confusables()
    assert ("0", "O") in draft.confusables()
    assert not any("c" in pair for pair in draft.confusables())


def test_no_labels_and_no_threshold_are_refused() -> None:
    with pytest.raises(ValueError, match="no labels"):
        draft_dictionary([])
    with pytest.raises(ValueError, match="min_count is 0"):
        draft_dictionary(["a"], min_count=0)
