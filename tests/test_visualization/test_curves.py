# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import pytest

from mmdptr.visualization import draw_curves, read_curve


def write_run(work_dir: Path, name: str, entries: list[dict]) -> None:
    folder = work_dir / name / "vis_data"
    folder.mkdir(parents=True)
    (folder / "scalars.json").write_text("".join(json.dumps(e) + "\n" for e in entries))


def test_a_resumed_run_is_one_curve_and_the_later_value_counts(tmp_path: Path) -> None:
    write_run(tmp_path, "1", [{"loss": 3.0, "step": 1}, {"loss": 2.0, "step": 2}, {"acc": 0.1}])
    write_run(tmp_path, "2", [{"loss": 1.5, "step": 2}, {"loss": 1.0, "step": 3}])
    assert read_curve(tmp_path, "loss") == [(1, 3.0), (2, 1.5), (3, 1.0)]


def test_a_folder_without_logs_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"scalars\.json"):
        read_curve(tmp_path, "loss")


def test_each_panel_shows_its_curves() -> None:
    figure = draw_curves(
        {"loss": {"a": [(1, 3.0), (2, 1.0)], "b": [(1, 2.0)]}, "acc": {"a": [(2, 1)]}}
    )
    left, right = figure.axes
    assert [line.get_label() for line in left.lines] == ["a", "b"]
    assert left.lines[0].get_ydata().tolist() == [3.0, 1.0]
    assert right.get_title() == "acc"
