# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
from mmocr.models.common import Dictionary
from mmocr.registry import TASK_UTILS

from mmdptr.dictionaries import GraphemeDictionary, split_units

UNITS = ["ন", "ম", "স্কা", "র", "স", "্", "ক", "ি", "0"]
SPECIAL = {"with_start": True, "with_end": True, "same_start_end": True, "with_padding": True}


@pytest.fixture
def dict_file(tmp_path: Path) -> str:
    (tmp_path / "dict.txt").write_text("\n".join(UNITS) + "\n", encoding="utf-8")
    return str(tmp_path / "dict.txt")


def test_labels_become_classes_and_classes_labels(dict_file: str) -> None:
    dictionary = TASK_UTILS.build({"type": "GraphemeDictionary", "dict_file": dict_file, **SPECIAL})
    assert dictionary.dict[: len(UNITS)] == UNITS
    assert dictionary.str2idx("নমস্কার") == [0, 1, 2, 3]
    assert dictionary.str2idx("স্কি0") == [4, 5, 6, 7, 8]
    for text in ("নমস্কার", "স্কি0"):
        assert dictionary.idx2str(dictionary.str2idx(text)) == text
    assert split_units("নমস্কার", dictionary) == ["ন", "ম", "স্কা", "র"]
    with pytest.raises(Exception, match="a not in dict"):
        dictionary.str2idx("a")


@pytest.mark.parametrize("options", [{}, SPECIAL, {"with_unknown": True, "with_padding": True}])
def test_with_single_characters_it_is_mmocrs(tmp_path: Path, options: dict) -> None:
    (tmp_path / "dict.txt").write_text("a\nb\n \nz", encoding="utf-8")
    ours = GraphemeDictionary(str(tmp_path / "dict.txt"), **options)
    theirs = Dictionary(str(tmp_path / "dict.txt"), **options)
    assert {k: v for k, v in vars(ours).items() if k != "alphabet"} == vars(theirs)
    assert split_units("ab", theirs) == split_units("ab", ours) == ["a", "b"]


def test_a_bad_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "dict.txt").write_text("a\nbc\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"line 2: found 2 characters, 'bc'"):
        GraphemeDictionary(str(tmp_path / "dict.txt"))
