# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import pytest
from fontTools.ttLib import TTFont
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.ft2font import FT2Font

from mmdptr.rendering import Fonts
from mmdptr.visualization import font_families


def test_compressed_fonts_in_parts_of_one_family_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the npm packages of free fonts are, each part in several weights."""
    monkeypatch.setattr(matplotlib, "get_cachedir", lambda: str(tmp_path))
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    monkeypatch.setattr(font_families, "FT2Font", lambda _: SimpleNamespace(get_charmap=dict))
    for part in ("ab", "cd"):
        for weight in (100, 400, 900):
            with TTFont(path) as font:
                for table in font["cmap"].tables:
                    table.cmap = {ord(x): table.cmap[ord(x)] for x in part if ord(x) in table.cmap}
                font["OS/2"].usWeightClass = weight
                font.flavor = "woff"
                font.save(tmp_path / f"{part}-{weight}.woff")
    names = font_families.font_families(Fonts([tmp_path]), "abcd")
    assert names == [str(tmp_path / f"{part}-400.woff") for part in ("ab", "cd")]
    copies = [Path(findfont(FontProperties(family=[name]))) for name in names]
    assert [x.parent for x in copies] == [tmp_path / "mmdptr"] * 2
    assert [set(FT2Font(x).get_charmap()) for x in copies] == [set(b"ab"), set(b"cd")]


def test_plain_fonts_come_before_handwriting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    monkeypatch.setattr(font_families, "FT2Font", lambda _: SimpleNamespace(get_charmap=dict))
    for name, weight in (("A Brush", 400), ("B Sans", 700), ("C Sans", 500)):
        with TTFont(path) as font:
            for record in font["name"].names:
                record.string = name
            font["OS/2"].usWeightClass = weight
            font.save(tmp_path / f"{name}.ttf")
    with TTFont(tmp_path / "A Brush.ttf") as font:
        del font["name"], font["OS/2"]
        font.save(tmp_path / "0.ttf")  # a font need not say what it is
    found = font_families.font_families(Fonts([tmp_path]), "ab")
    assert found == [str(tmp_path / "C Sans.ttf")]
