# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmdptr.writing import Alphabet, graphemes, read_alphabet


@pytest.mark.parametrize(
    ("text", "clusters"),
    [
        ("abc", ["a", "b", "c"]),
        ("e\u0301a", ["e\u0301", "a"]),
        ("নমস্কার", ["ন", "ম", "স্কা", "র"]),  # Bengali, with a conjunct
        ("क्षि", ["क्षि"]),  # Devanagari
        ("ดีก็", ["ดี", "ก็"]),  # Thai
        ("தமிழ்", ["த", "மி", "ழ்"]),  # Tamil
        ("日本", ["日", "本"]),
    ],
)
def test_what_readers_take_for_one_character_stays_together(text: str, clusters: list[str]):
    assert graphemes(text) == clusters


def test_a_frequent_cluster_is_a_unit_and_a_rare_one_is_spelled():
    alphabet = Alphabet(["ন", "ম", "স্কা", "র", "স", "্", "ক", "ি"])
    assert alphabet.split("নমস্কার") == ["ন", "ম", "স্কা", "র"]
    assert alphabet.split("স্কি") == ["স", "্", "ক", "ি"]
    assert alphabet.split("aন") == ["a", "ন"]
    assert Alphabet("ab").split("e\u0301") == ["e", "\u0301"]


@given(st.text(), st.lists(st.text(min_size=1, max_size=3)))
def test_the_units_of_a_text_are_the_text(text: str, words: list[str]):
    units = {x for word in words for x in graphemes(word)} | {"a"}
    assert "".join(Alphabet(units).split(text)) == text


def test_dictionary_file(tmp_path: Path):
    path = tmp_path / "dict.txt"
    path.write_bytes("a\r\né\n\n \n\u2028\n#".encode())
    assert read_alphabet(path) == ["a", "é", " ", "\u2028", "#"]
    assert read_alphabet(str(path)) == read_alphabet(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\nbc\n", r"dict\.txt, line 2: found 2 characters, 'bc', expected one"),
        (b"\xef\xbb\xbfa\nb\n", r"line 1: found 2 characters, '\\ufeffa'.*byte order mark"),
        (b"a\nb\na\n", r"dict\.txt, line 3: found 'a', which line 1 has already"),
        (b"a\n\xf6\n", r"dict\.txt: found .*byte 0xf6 in position 2.*expected UTF-8"),
    ],
)
def test_bad_dictionary_files_are_named(content: bytes, message: str, tmp_path: Path):
    path = tmp_path / "dict.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_alphabet(path)


def test_a_missing_dictionary_is_named(tmp_path: Path):
    for path in (tmp_path / "lost.txt", tmp_path):
        with pytest.raises(FileNotFoundError, match=f"No dictionary file at {path}"):
            read_alphabet(path)


def test_dictionary_files_are_read_as_mmocr_reads_them(tmp_path: Path):
    module = pytest.importorskip("mmocr.models.common.dictionary", exc_type=ImportError)
    odd = tmp_path / "odd.txt"
    odd.write_bytes("a\r\n\r\n \r\né\rb\n\x85\n\u2028".encode())
    shipped = Path(sys.modules["mmocr"].__file__).parent.glob(".mim/dicts/*.txt")
    for path in [odd, *shipped]:
        assert read_alphabet(path) == module.Dictionary(str(path)).dict
