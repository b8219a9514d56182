# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Pictures of results."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.test_tools.test_study.small_study import plot, result, results, run, write_study


def test_accuracy_is_drawn_against_the_number_in_a_recipes_name(call: Callable[..., str]) -> None:
    write_study(recipes={"a@500": "one.py", "a@2000": "two.py"}, seeds=[0, 1])
    with pytest.raises(SystemExit, match="There are no results yet"):
        call(plot)
    call(run)
    file = Path("results/words/a@500-dptr-seed1.json")
    file.write_text(json.dumps({**result("a@500-dptr-seed1"), "average": 0.7}))
    assert "plots/study.png" in call(plot, "--out", "plots/study.png")
    assert Path("plots/study.png").read_bytes().startswith(b"\x89PNG")
    averages = plot.collect(results.read_together([Path("words.yaml")])[1])
    assert averages["a@500", "dptr"] == pytest.approx([50, 70])
    (axis,) = plot.draw_curves(averages, "labelled images").axes
    dptr = axis.containers[1]
    assert dptr.lines[0].get_xydata().tolist() == pytest.approx(np.array([[500, 60], [2000, 50]]))
    low, high = dptr.lines[2][0].get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((50, 70))


def test_other_recipes_stand_below_each_other_the_best_at_the_top(call: Callable[..., str]) -> None:
    write_study(seeds=[0, 1])
    call(run, "--only", "one-*", "two-scratch-*")
    for seed, average in ((0, 0.8), (1, 0.6)):
        file = Path(f"results/words/two-scratch-seed{seed}.json")
        file.write_text(json.dumps({**result(f"two-scratch-seed{seed}"), "average": average}))
    assert "study.png" in call(plot)
    averages = plot.collect(results.read_together([Path("words.yaml")])[1])
    (axis,) = plot.draw_rows(averages).axes
    assert [text.get_text() for text in axis.get_yticklabels()] == ["one", "two"]
    dots = {dots.get_label(): dots.lines[0].get_xydata().tolist() for dots in axis.containers}
    assert dots == {
        "scratch": pytest.approx(np.array([[30, 0], [70, 1]])),
        "dptr": pytest.approx(np.array([[50, 0]])),
    }
    reach = axis.containers[0].lines[2][0].get_segments()[1][:, 0]
    assert reach == pytest.approx([60, 80])


def test_more_variants_than_recipes_are_bars_in_the_order_of_the_study(
    call: Callable[..., str],
) -> None:
    write_study(recipes={"one": "one.py"}, seeds=[0, 1])
    call(run)
    for seed, average in ((0, 0.8), (1, 0.6)):
        file = Path(f"results/words/one-dptr-seed{seed}.json")
        file.write_text(json.dumps({**result(f"one-dptr-seed{seed}"), "average": average}))
    averages = plot.collect(results.read_together([Path("words.yaml")])[1])
    (axis,) = plot.draw(averages, "").axes
    assert [text.get_text() for text in axis.get_yticklabels()] == ["scratch", "dptr"]
    assert axis.yaxis_inverted()
    assert [bar.get_width() for bar in axis.patches] == pytest.approx([30, 70])
    assert axis.lines[-1].get_xdata() == pytest.approx([30, 30])
    reach = axis.containers[0].lines[2][0].get_segments()[1][:, 0]
    assert reach == pytest.approx([60, 80])


def test_what_an_older_version_pre_trained_otherwise_has_an_asterisk(
    call: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_study(recipes={"one": "one.py"})
    call(run)
    file, old = Path("results/words/one-dptr-seed0.json"), result("one-dptr-seed0")
    old["versions"]["mmdptr"], old["stage_1"] = "0.1.0", {"pretrainer": "TypesetPretrainer"}
    file.write_text(json.dumps(old))
    figures = []
    monkeypatch.setattr(plot.Figure, "savefig", lambda self, *_, **__: figures.append(self))
    call(plot)
    (axis,) = figures[0].axes
    assert [text.get_text() for text in axis.texts] == ["30.0", "50.0 *"]


def test_bars_are_equally_thick_in_all_panels() -> None:
    numbers = {("one", "a"): [1.0], ("one", "b"): [2.0], ("one", "c"): [3.0], ("two", "a"): [4.0]}
    one, two = plot.draw_bars(numbers).axes
    assert one.get_ylim() == two.get_ylim()
    assert two.yaxis_inverted()


def test_a_recipe_with_one_number_is_left_out_of_curves(call: Callable[..., str]) -> None:
    recipes = {"a@500": "one.py", "a@2000": "two.py", "b@500": "one.py"}
    write_study(recipes=recipes)
    call(run)
    averages = plot.collect(results.read_together([Path("words.yaml")])[1])
    assert [axis.get_title() for axis in plot.draw_curves(averages, "images").axes] == ["a"]
    alone = {key: seeds for key, seeds in averages.items() if key[0] == "b@500"}
    assert [axis.get_title() for axis in plot.draw_curves(alone, "images").axes] == ["b"]


def test_variants_stand_in_the_order_of_the_study(call: Callable[..., str]) -> None:
    call(run, "--only", "one-dptr-*", "two-*")
    averages = plot.collect(results.read_together([Path("words.yaml")])[1])
    (axis,) = plot.draw_rows(averages).axes
    assert [dots.get_label() for dots in axis.containers] == ["scratch", "dptr"]


def test_numbers_and_names_are_two_pictures(call: Callable[..., str]) -> None:
    write_study(recipes={"a@500": "one.py", "b": "two.py"})
    call(run)
    with pytest.raises(SystemExit, match=r"Some recipes are named <recipe>@<number>, some are not"):
        call(plot)
