# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import shutil
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from mmdptr.rendering import Fonts

TRUETYPE = Path(matplotlib.get_data_path(), "fonts", "ttf")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two families: one of a single Latin font, one of many weights."""
    for family, names in {
        "latin": ["STIXSizOneSymReg.ttf", "cmr10.ttf"],
        "many": [f"DejaVuSans{x}.ttf" for x in ("", "-Bold", "-Oblique", "-BoldOblique")],
    }.items():
        (tmp_path / family).mkdir()
        for name in names:
            shutil.copy(TRUETYPE / name, tmp_path / family)
    return tmp_path


def test_only_fonts_that_have_the_characters_are_drawn(folder: Path) -> None:
    fonts = Fonts([folder])
    assert len(fonts) == 6
    rng = np.random.default_rng(0)
    assert {fonts.draw(rng, "слово").parent.name for _ in range(20)} == {"many"}
    assert fonts.count("слово") == 4
    assert fonts.draw(rng, "word").name != "STIXSizOneSymReg.ttf"  # has symbols only


def test_every_family_comes_up_as_often(folder: Path) -> None:
    fonts, rng = Fonts([folder]), np.random.default_rng(0)
    names = [fonts.draw(rng, "word").name for _ in range(400)]
    assert 150 < names.count("cmr10.ttf") < 250
    assert 20 < names.count("DejaVuSans-Bold.ttf") < 85


def test_one_seed_draws_the_same(folder: Path) -> None:
    draws = [Fonts([folder]).draw(np.random.default_rng(5), "word") for _ in range(2)]
    assert draws[0] == draws[1]


def test_the_missing_character_is_named(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"None of 6 fonts .*'字' \(U\+5B57\) is in 0 of them"):
        Fonts([folder]).draw(np.random.default_rng(0), "a字")


def test_a_folder_without_fonts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"No font in .*Expected \.ttf"):
        Fonts([tmp_path])


def test_a_broken_font_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.ttf").write_bytes(b"not a font at all")
    with pytest.raises(OSError, match=r"broken\.ttf is not a font, or broken"):
        Fonts([tmp_path])
