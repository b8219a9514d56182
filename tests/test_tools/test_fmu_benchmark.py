# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""What an FMU costs: the variants that are compared, and the table."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mmengine.registry import init_default_scope

from mmdptr.engine.isolation import isolated_runner
from tests.builders import nrtr

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools" / "benchmarks"))
tool = importlib.import_module("fmu")


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with isolated_runner():
        init_default_scope("mmocr")
        yield


def test_variants_differ_in_their_fmu_alone() -> None:
    model = nrtr(neck={"type": "FMU", "num_layers": 1})
    none, paper, layers = (tool.build(model, neck) for neck in tool.VARIANTS.values())
    assert model["neck"] == {"type": "FMU", "num_layers": 1}
    assert not none.with_neck
    assert paper.neck.layers is None
    assert len(layers.neck.layers.layers) == 2
    rest = [{k for k in x.state_dict() if not k.startswith("neck.")} for x in (none, paper, layers)]
    assert rest[0] == rest[1] == rest[2]
    with pytest.raises(ValueError, match="This recognizer has no FMU"):
        tool.build(nrtr(), None)


def test_ratios_are_to_the_recognizer_without_fmu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "small.py").write_text(f"model = {nrtr(neck={'type': 'FMU'})!r}")
    times = iter([9.0] * 3 + [1.0, 2.0, 7.0] + [3.0, 4.0, 9.0])
    monkeypatch.setattr(tool, "measure", lambda model, images: next(times))
    out = tmp_path / "fmu.json"
    command = ["fmu.py", str(tmp_path / "small.py"), "--repeats", "2", "--json", str(out)]
    monkeypatch.setattr(sys, "argv", command)
    tool.main()
    lines = [line.split("|") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [x[5].strip() for x in lines] == ["1.00", "1.50", "4.00"]
    assert [row["training_s"] for row in json.loads(out.read_text())["rows"]] == [2, 3, 8]


def test_a_step_goes_forward_and_back() -> None:
    model = tool.build(nrtr(neck={"type": "FMU"}), {"num_layers": 2}).eval()
    steps: list[bool] = []
    gradients: list[bool] = []
    model.decoder.register_forward_pre_hook(lambda module, _: steps.append(module.training))
    model.neck.queries.register_hook(lambda gradient: gradients.append(bool(gradient.any())))
    assert tool.measure(model, tool.torch.randn(2, 3, 32, 64)) > 0
    assert (steps, gradients) == ([True], [True])
    assert model.neck.queries.grad is None
