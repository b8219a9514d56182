# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import warnings
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from mmdptr.rendering import Fonts
from mmdptr.visualization import Reading, draw_fmu_attention


def reading(truth: str, prediction: str, queries: int = 8, columns: int = 10) -> Reading:
    attention = np.eye(queries, columns, dtype=np.float32)[:, None, :]
    return Reading(np.zeros((32, 100, 3), np.uint8), truth, prediction, attention)


@pytest.mark.parametrize(
    ("truth", "prediction", "correct"),
    [
        ("Word", "word", True),
        ("it's", "ITS", True),
        ("word", "ward", False),
        ("word", "", False),
        ("слово", "слава", False),
        ("Ёж", "ёж", True),
        ("हिन्दी", "हनद", False),
    ],
)
def test_case_and_symbols_do_not_count(truth: str, prediction: str, correct: bool) -> None:
    assert reading(truth, prediction).correct is correct


def test_maps_show_queries_by_where_they_look() -> None:
    shuffled = reading("no", "on")
    order = [3, 0, 7, 1, 6, 2, 5, 4]
    attention = 0.5 * shuffled.attention[order].repeat(2, axis=1)  # over two rows of a grid
    figure = draw_fmu_attention(
        [reading("word", "word"), replace(shuffled, attention=attention)], columns=2
    )
    maps = [axis.images[0].get_array() for axis in figure.axes[2:]]
    for chart in maps:
        np.testing.assert_allclose(chart, np.eye(8, 10))
    labels = [[int(x.get_text()) for x in axis.get_yticklabels()] for axis in figure.axes[2:]]
    assert labels == [list(range(8)), np.argsort(order).tolist()]


def test_fonts_take_the_place_of_boxes(tmp_path: Path) -> None:
    folder = Path(matplotlib.get_data_path(), "fonts", "ttf")
    fonts = Fonts([folder / name for name in ("cmr10.ttf", "STIXSizOneSymReg.ttf")])
    (own,) = Fonts([folder / "DejaVuSans.ttf"]).characters.values()
    text = "".join(min(x - own) for x in fonts.characters.values() if x - own)
    with pytest.warns(UserWarning, match="missing from"):
        draw_fmu_attention([reading(text, text)]).savefig(tmp_path / "boxes.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_fmu_attention([reading(text, text)], fonts=fonts).savefig(tmp_path / "glyphs.png")
    assert (tmp_path / "boxes.png").read_bytes() != (tmp_path / "glyphs.png").read_bytes()


def test_right_is_green_and_wrong_is_red_with_the_truth() -> None:
    figure = draw_fmu_attention([reading("word", "word"), reading("no", "on")], columns=2)
    right, wrong = figure.axes[:2]
    assert right.title.get_color() == "tab:green"
    assert wrong.title.get_color() == "tab:red"
    assert [text.get_text() for text in wrong.texts] == ["no"]
