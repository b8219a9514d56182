# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import pytest

from mmdptr.engine.work_dir import last_value, read_config, read_curve


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


def test_the_last_value_is_that_of_the_test_if_one_was_run(tmp_path: Path) -> None:
    write_run(tmp_path, "1", [{"acc": 0.1, "step": 1}, {"acc": 0.2, "step": 2}])
    assert last_value(tmp_path, "acc") == 0.2
    assert last_value(tmp_path, "other") is None
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "2.json").write_text(json.dumps({"acc": 0.3}))
    assert last_value(tmp_path, "acc") == 0.3


def test_the_config_is_that_of_the_latest_run(tmp_path: Path) -> None:
    for name, lr in {"20260101_000000": 1, "20260102_000000": 2}.items():
        write_run(tmp_path, name, [])
        (tmp_path / name / "vis_data" / "config.py").write_text(f"lr = {lr}\n")
    assert read_config(tmp_path).lr == 2


def test_a_folder_without_configs_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"config\.py"):
        read_config(tmp_path)
