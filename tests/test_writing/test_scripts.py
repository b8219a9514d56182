# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import pytest

from mmdptr.writing import characters_of, count_scripts, scripts_of


@pytest.mark.parametrize(
    ("unit", "scripts"),
    [
        ("a", {"Latin"}),
        ("স্কা", {"Bengali"}),
        ("ا", {"Arabic"}),
        ("я", {"Cyrillic"}),
        ("日", {"Han"}),
        ("あ", {"Hiragana"}),
        ("ー", {"Hiragana", "Katakana"}),  # the length mark
        ("한", {"Hangul"}),
        ("ไ", {"Thai"}),
        ("1", {"Common"}),
        ("-", {"Common"}),
        ("\u0378", {"Common"}),  # unassigned
    ],
)
def test_scripts_have_their_names(unit: str, scripts: set[str]) -> None:
    assert scripts_of(unit) == scripts


def test_every_character_counts_for_one_script() -> None:
    units = ["a", "ß", "1", "ー", "々", "০", "স্কা", "।", "\u0378", "\u0301", "e\u0301"]
    assert count_scripts(units) == {"Latin": 3, "Han": 1, "Bengali": 2, "Common": 5}


def test_a_script_has_letters_marks_and_digits() -> None:
    found = characters_of("Telugu")
    assert found == sorted(found)
    assert {*"ఈరోజు", "౧"} <= {*found}
    assert "౷" not in found, "punctuation"
    assert not {*found} & {*"a1।"}
    with pytest.raises(ValueError, match="no script 'Telegu'"):
        characters_of("Telegu")
