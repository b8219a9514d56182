# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmdptr.datasets.filter_report import REASONS, FilterReport
from mmdptr.datasets.label_filter import LabelFilter

LETTERS = "abcdefghijklmnopqrstuvwxyz"
# Small alphabets and odd characters make duplicates and faults likely.
labels = st.lists(
    st.text(
        st.sampled_from("aAb é\u0301İ\u0131ß\u0390Σﬁ\u00b4\t\n\ud800\u0378\u210c\u200d")
        | st.characters()
    )
)


@st.composite
def filters(draw: st.DrawFn) -> LabelFilter:
    return LabelFilter(
        characters=draw(st.sampled_from([None, LETTERS, "aAé ", ["a", "e", "e\u0301", "\u0301"]])),
        min_length=draw(st.integers(1, 2)),
        max_length=draw(st.none() | st.integers(2, 5)),
        letter_case=draw(st.sampled_from(["unchanged", "lower", "upper"])),
        unicode_form=draw(st.sampled_from([None, "NFC", "NFD", "NFKC", "NFKD"])),
    )


@given(filters(), labels)
def test_counts_add_up_and_kept_labels_obey_the_rules(keep: LabelFilter, words: list[str]):
    kept = list(keep(words))
    report = keep.report
    assert report.read == len(words)
    assert report.kept == len(kept)
    assert report.read == report.kept + sum(report.dropped.values())
    assert len(set(kept)) == len(kept)
    for label in kept:
        units = keep.units(label)
        assert "".join(units) == label
        assert keep.min_length <= len(units)
        assert keep.max_length is None or len(units) <= keep.max_length
        assert keep.alphabet is None or set(units) <= keep.alphabet.units
        assert label == label.strip()
        label.encode("utf-8")
    json.loads(json.dumps(report.to_dict(), ensure_ascii=False).encode("utf-8"))
    str(report).encode("utf-8")


@given(filters(), labels)
def test_filtering_again_changes_nothing(keep: LabelFilter, words: list[str]):
    kept = list(keep(words))
    assert list(keep(kept)) == kept
    assert sum(keep.report.dropped.values()) == 0


@given(st.lists(st.text(LETTERS, min_size=1, max_size=3)))
def test_valid_labels_lose_only_their_repetitions(words: list[str]):
    assert list(LabelFilter(LETTERS)(words)) == list(dict.fromkeys(words))


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        ("", "empty"),
        (" \t\u3000", "empty"),
        ("\u200c\u200c", "empty"),  # joiners with nothing to join, as in wordfreq's Bengali words
        ("\u3164\ufe0f", "empty"),  # Hangul's filler, a variation selector
        ("\u2800", "empty"),
        ("a\tb", "not valid text"),
        ("a\x00", "not valid text"),
        ("a\x7fb", "not valid text"),
        ("\ud800abc", "not valid text"),
        ("ab\u0378", "not valid text"),
        ("a", "too short"),
        ("abcdef", "too long"),
        ("abé", "not in dictionary"),
        ("a b", "not in dictionary"),
        ("SEEN", "duplicate"),
        (" seen\n", "duplicate"),
    ],
)
def test_each_fault_has_its_reason(label: str, reason: str):
    keep = LabelFilter(LETTERS, min_length=2, max_length=5)
    assert list(keep(["seen", label, "fine"])) == ["seen", "fine"]
    assert {name: n for name, n in keep.report.dropped.items() if n} == {reason: 1}
    assert keep.report.examples == {reason: [label]}


def test_length_limits_are_inclusive_and_count_the_normalised_label():
    keep = LabelFilter(min_length=2, max_length=3)
    assert list(keep([" a ", "ab", "e\u0301e\u0301e\u0301", "abcd"])) == ["ab", "ééé"]
    assert list(LabelFilter(max_length=None)(["a" * 1000])) == ["a" * 1000]
    assert list(LabelFilter()(["a" * 25, "b" * 26])) == ["a" * 25]


def test_letter_case():
    words = ["Hello", "HELLO", "hello"]
    assert list(LabelFilter()(words)) == ["hello"]
    assert list(LabelFilter(letter_case="upper")(words)) == ["HELLO"]
    assert list(LabelFilter(letter_case="unchanged")(words)) == words


def test_unicode_form():
    words = ["e\u0301", "é", "ﬁ", "fi"]
    assert list(LabelFilter()(words)) == ["é", "ﬁ", "fi"]
    assert list(LabelFilter(unicode_form=None)(words)) == words
    assert list(LabelFilter(unicode_form="NFKC")(words)) == ["é", "fi"]
    # Black-letter capitals become plain ones, which then need the case of the others.
    assert list(LabelFilter(unicode_form="NFKC")(["\u210c"])) == ["h"]
    # The capital of this letter is decomposed.
    assert list(LabelFilter(letter_case="upper")(["\u0390"])) == ["\u03aa\u0301"]


def test_a_space_inside_needs_to_be_in_the_dictionary():
    assert list(LabelFilter("ab ")([" a b "])) == ["a b"]
    assert list(LabelFilter("ab")([" a b "])) == []
    assert list(LabelFilter()([" a b "])) == ["a b"]


def test_the_case_follows_the_rules_of_a_language():
    words = ["DIYARBAKIR", "İzmir"]
    assert list(LabelFilter(language="tr")(words)) == ["dıyarbakır", "izmir"]
    assert list(LabelFilter(language="tr", letter_case="upper")(["izmir"])) == ["İZMİR"]


def test_clusters_of_the_alphabet_are_one_character():
    keep = LabelFilter(["ন", "ম", "স্কা", "র", "ক"], max_length=4)
    assert list(keep(["নমস্কার", "নমক", "নমকা", "নমককর"])) == ["নমস্কার", "নমক"]
    assert keep.report.unknown_characters == {"া": 1}  # of a cluster that is taken apart
    assert keep.report.dropped["too long"] == 1
    assert keep.units("নমস্কার") == ["ন", "ম", "স্কা", "র"]


def test_characters_that_show_nothing_are_taken_out():
    assert list(LabelFilter()(["\ufeffso\xadft\u200e", "soft", "\u2060"])) == ["soft"]


def test_joiners_of_scripts_are_valid_text():
    persian = "می\u200cخو"
    assert list(LabelFilter()([persian])) == [persian]


def test_the_stream_is_lazy_and_the_report_grows_with_it():
    keep = LabelFilter()
    kept = keep(iter(["one", "", "two"]))
    assert keep.report.read == 0
    assert next(kept) == "one"
    assert (keep.report.read, keep.report.kept) == (1, 1)
    assert next(kept) == "two"
    assert (keep.report.read, keep.report.kept) == (3, 2)


def test_each_call_starts_anew():
    keep = LabelFilter()
    assert list(keep(["one", ""])) == ["one"]
    first = keep.report
    assert list(keep(["one"])) == ["one"]
    assert (first.read, keep.report.read) == (2, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"characters": []}, "alphabet is empty"),
        ({"characters": ["a", "<UKN>"]}, r"entries \['<UKN>'\], expected single characters"),
        ({"characters": ["a", ""]}, r"entries \[''\], expected single characters"),
        ({"min_length": 0}, "min_length is 0, expected 1 or more"),
        ({"min_length": 3, "max_length": 2}, "max_length is 2, expected min_length=3 or more"),
        ({"letter_case": "title"}, r"letter_case is 'title', expected one of \['unchanged', 'lo"),
        ({"unicode_form": "nfc"}, r"unicode_form is 'nfc', expected None or one of \['NFC', "),
    ],
)
def test_wrong_arguments_are_named(arguments: dict, message: str):
    with pytest.raises(ValueError, match=message):
        LabelFilter(**arguments)


def test_report_takes_reasons_of_others_and_keeps_adding_up():
    keep = LabelFilter()
    kept = list(keep(["one", "two", "two"]))
    keep.report.drop("exceeds CLIP context", kept[1])
    assert keep.report.kept == 1
    assert keep.report.to_dict()["dropped"]["exceeds CLIP context"] == 1
    assert "exceeds CLIP context" in str(keep.report)


def test_report_keeps_the_first_ten_examples():
    keep = LabelFilter("ab")
    words = [f"x{i}" for i in range(12)]
    assert list(keep(words)) == []
    assert keep.report.dropped["not in dictionary"] == 12
    assert keep.report.examples["not in dictionary"] == words[:10]


def test_report_cuts_long_examples():
    report = FilterReport()
    report.drop("too long", "x" * 200)
    report.drop("too long", "y" * 5_000_000)
    assert report.examples["too long"] == ["x" * 200, "y" * 197 + "..."]


def test_report_counts_the_labels_that_an_unknown_character_costs():
    keep = LabelFilter("ab")
    list(keep(["xx", "xy", "a", "X", *(chr(0x3041 + i) for i in range(40))]))
    assert keep.report.unknown_characters["x"] == 3
    shown = keep.report.to_dict()["unknown_characters"]
    assert len(shown) == 20
    # The most common one first, ties by code point.
    assert list(shown)[:3] == ["x", "y", "\u3041"]
    assert "'x' U+0078: 3" in str(keep.report)
    assert "U+3041" in str(keep.report)
    assert chr(0x3041 + 39) not in str(keep.report).split("characters outside")[1]


def test_report_as_dict():
    keep = LabelFilter("ab")
    list(keep(["a", "a", "\ud800", "x"]))
    assert json.loads(json.dumps(keep.report.to_dict())) == {
        "read": 4,
        "kept": 1,
        "dropped": dict.fromkeys(REASONS, 0)
        | {"duplicate": 1, "not valid text": 1, "not in dictionary": 1},
        "examples": {
            "not valid text": ["\\ud800"],
            "not in dictionary": ["x"],
            "duplicate": ["a"],
        },
        "unknown_characters": {"x": 1},
    }
    assert list(keep.report.to_dict()["dropped"]) == list(REASONS)
    assert list(keep.report.to_dict()["examples"]) == [
        "not valid text",
        "not in dictionary",
        "duplicate",
    ]
    assert keep.report.to_dict() == keep.report.to_dict()


def test_report_as_text():
    report = FilterReport(read=2000)
    report.drop("too long", "a\nb" * 100)
    for index in range(11):
        report.drop("duplicate", f"{index:029}")  # three and their gaps take 101 columns
    text = str(report)
    assert text.splitlines()[:5] == [
        "labels read  2,000  100.00 %",
        "kept         1,988   99.40 %",
        "dropped         12    0.60 %",
        "  too long       1    0.05 %",
        "  duplicate     11    0.55 %",
    ]
    assert "'a\\nba\\nb" in text
    assert f"'{9:029}'" in text
    assert max(len(line) for line in text.splitlines()) <= 100
    assert "kept         0    0.00 %" in str(FilterReport())


def test_result_does_not_depend_on_the_hash_seed():
    code = (
        "from mmdptr.datasets.label_filter import LabelFilter\n"
        "keep = LabelFilter('ab')\n"
        "print(list(keep(['zyxwvu', 'a', 'b', 'A'])), keep.report, keep.report.to_dict())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={
                **os.environ,
                "PYTHONHASHSEED": seed,
                "PYTHONPATH": str(Path(__file__).parents[2]),
            },
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "012"
    }
    assert len(outputs) == 1
