# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mmocr.models.common import Dictionary

from mmdptr.dictionaries import GraphemeDictionary

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
tool = importlib.import_module("build_dictionary")
Build = Callable[..., str]


@pytest.fixture
def build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Build:
    """Make a dictionary of words; return what is printed."""

    def run(words: list[str], *options: str) -> str:
        (tmp_path / "words.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
        files = [str(tmp_path / "words.txt"), "--out", str(tmp_path / "out" / "dict.txt")]
        monkeypatch.setattr(sys, "argv", ["build_dictionary.py", *files, *options])
        tool.main()
        return capsys.readouterr().out

    return run


def test_mmocr_reads_it(build: Build, tmp_path: Path) -> None:
    printed = build(["Zoo", "азбука", "zoo", "été"], "--always", "10")
    dictionary = Dictionary(str(tmp_path / "out" / "dict.txt"))
    assert dictionary.dict == [*"01otzéабзку"]
    assert "labels read  4" in printed
    assert "| Cyrillic" in printed
    assert "'o' and" not in printed  # there is no Cyrillic o
    assert "dict.txt: 11 classes" in printed


def test_clusters_and_what_the_threshold_costs(build: Build, tmp_path: Path) -> None:
    printed = build(["কাম", "মকা", "কামx"], "--clusters", "--min-count", "2")
    dictionary = GraphemeDictionary(str(tmp_path / "out" / "dict.txt"))
    assert dictionary.dict == ["কা", "ম"]
    assert "Left out: 'x' (1)" in printed
    assert "1 of 3 labels (33.33%) hold one of them, such as 'কামx'" in printed
    assert "The longest label has 2 classes" in printed


def test_forms_and_languages_are_the_filters(build: Build, tmp_path: Path) -> None:
    build(["ＩA"], "--unicode-form", "NFKC", "--language", "tr")
    assert (tmp_path / "out" / "dict.txt").read_text(encoding="utf-8") == "a\nı\n"
    with pytest.raises(SystemExit, match="no labels"):
        build([""])


def test_whole_scripts_need_no_words(build: Build, tmp_path: Path) -> None:
    build(["ёж"], "--whole-scripts", "Telugu", "Cyrillic")
    units = (tmp_path / "out" / "dict.txt").read_text(encoding="utf-8").split()
    assert {*"ёжџఈజు"} <= {*units}
    assert not {*units} & {*"ЁЖ"}, "labels are in lower case"


def test_nothing_is_written_where_something_is_missing(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match=r"No class is left of 2 labels, such as 'ab'\. Lower"):
        build(["ab", "cd"], "--min-count", "2")
    with pytest.raises(SystemExit, match="No class is left"):
        build(["ab"], "--scripts", "bengali")
    monkeypatch.setitem(sys.modules, "confusable_homoglyphs", None)  # as if not installed
    with pytest.raises(SystemExit, match=r"pip install 'mmdptr\[languages\]'"):
        build(["ab"])
    assert not (tmp_path / "out").exists()
