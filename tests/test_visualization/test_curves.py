# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
from mmdptr.visualization import draw_curves


def test_each_panel_shows_its_curves() -> None:
    figure = draw_curves(
        {"loss": {"a": [(1, 3.0), (2, 1.0)], "b": [(1, 2.0)]}, "acc": {"a": [(2, 1)]}}
    )
    left, right = figure.axes
    assert [line.get_label() for line in left.lines] == ["a", "b"]
    assert left.lines[0].get_ydata().tolist() == [3.0, 1.0]
    assert right.get_title() == "acc"
