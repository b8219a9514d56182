# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
from mmdptr.writing import script_name, scripts_of


def test_scripts_have_their_names() -> None:
    assert [script_name(x) for x in "aকاя日あ한ไ"] == [
        *("Latin", "Bengali", "Arabic", "Cyrillic", "Han", "Hiragana", "Hangul", "Thai")
    ]


def test_what_all_scripts_use_is_counted_apart() -> None:
    assert scripts_of(["a", "ß", "1", "-", "স্কা", "\u0301"]) == {
        "Latin": 2,
        "Common": 3,
        "Bengali": 1,
    }
