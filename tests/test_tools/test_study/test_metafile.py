# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The file that MIM reads has the results that are committed, and no others."""

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.test_tools.test_study.small_study import ROOT, write_study

metafile = importlib.import_module("metafile")
STUDIES = ("recognizers", "clip4str", "parseq_faithful")


def write_result(folder: Path, name: str, **accuracies: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps({"accuracies": accuracies}))


def test_the_shipped_metafile_is_what_the_results_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    out = tmp_path / "metafile.yml"
    shipped = Path("configs/metafile.yml").read_text(encoding="utf-8")
    out.write_text(shipped, encoding="utf-8")
    studies = [f"tools/study/{name}.yaml" for name in STUDIES]
    monkeypatch.setattr(sys, "argv", ["metafile.py", *studies, "--out", str(out)])
    metafile.main()
    assert out.read_text(encoding="utf-8") == shipped
    models = yaml.safe_load(shipped)["Models"]
    measured = {
        path.name.rpartition("-dptr-seed")[0]
        for name in STUDIES
        for path in Path("tools/study/results", name).glob("*-dptr-seed*.json")
    }
    assert {model["Name"] for model in models} == {f"dptr_{name}_mini" for name in measured}
    for model in models:
        assert Path(model["Config"]).is_file()
        assert {x["Dataset"] for x in model["Results"]} == {"IIIT5K", "SVT", "IC13", "IC15"}
        assert all(0 <= x["Metrics"]["word_acc"] < 1 for x in model["Results"])


def test_an_entry_is_the_mean_of_the_seeds_of_dptr(call: Callable[..., str]) -> None:
    write_study(seeds=[0, 1, 2])
    path = Path("words.yaml")
    folder = Path("results") / "words"
    write_result(folder, "one-dptr-seed0", A=0.5, B=0.1)
    write_result(folder, "one-dptr-seed2", A=0.7, B=0.2)
    write_result(folder, "one-scratch-seed1", A=0.9, B=0.9)
    write_result(folder, "two-scratch-seed0", A=0.9, B=0.9)
    (entry,) = metafile.list_models([path])
    assert entry["Metadata"]["Seeds"] == 2
    found = {x["Dataset"]: x["Metrics"]["word_acc"] for x in entry["Results"]}
    assert found == {"A": 0.6, "B": 0.15}
    with pytest.raises(ValueError, match=r"words\.yaml has results of one\.py, as another"):
        metafile.list_models([path, path])
