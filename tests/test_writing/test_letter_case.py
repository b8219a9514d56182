# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import pytest

from mmdptr.writing import change_case


@pytest.mark.parametrize(
    ("language", "lower", "upper"),
    [
        ("tr", "kırım izmir", "KIRIM İZMİR"),
        ("az", "bakı", "BAKI"),
        (None, "hill", "HILL"),
        ("el", "οδός", "ΟΔΌΣ"),  # the sigma at the end
        ("ru", "ёлка", "ЁЛКА"),
    ],
)
def test_cases_of_languages(language: str | None, lower: str, upper: str) -> None:
    assert change_case(upper, "lower", language) == lower
    assert change_case(lower, "upper", language) == upper
    assert change_case(upper, "unchanged", language) == upper


def test_an_unknown_case_is_named() -> None:
    with pytest.raises(ValueError, match="letter_case is 'title', expected one of"):
        change_case("a", "title")
