# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The profile of stage 1, by a clock of its own: no test depends on the machine's speed."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmocr.models.textrecog.decoders import NRTRDecoder

from mmdptr.clip import CLIPTextEncoder, LoadedCLIP
from mmdptr.datasets import TextEmbeddingDataset
from mmdptr.engine import bf16_optim_wrapper
from mmdptr.engine.isolation import isolated_runner
from mmdptr.models import DPTRLoss, TextEmbeddingPreprocessor
from mmdptr.models.pretrainers import SlotPrior
from tests.builders import nrtr, squeeze, words

sys.path.insert(0, str(Path(__file__).parents[2] / "tools" / "benchmarks"))
tool = importlib.import_module("stage1_profile")


@pytest.fixture(autouse=True)
def any_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute in bfloat16 where the CPU would only emulate it, too."""
    for module in (tool, bf16_optim_wrapper):
        monkeypatch.setattr(module, "cpu_multiplies_bfloat16", lambda: True)


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with isolated_runner():
        init_default_scope("mmocr")
        yield


@pytest.fixture
def cfg(tiny_clip: LoadedCLIP, tmp_path: Path) -> Config:
    encoder = CLIPTextEncoder(tiny_clip)
    _, store = tool.write_store(tmp_path, words(16), encoder)
    _, bank = tool.write_bank(tmp_path, encoder)
    return tool.stage1_config(nrtr(), store, bank, batch=8)


def test_each_part_gets_its_own_time(
    cfg: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time stands still but in one place of each part, where it passes at a rate of its own."""
    now = 0.0

    def passes(seconds: float, owner: type, method: str) -> None:
        original = getattr(owner, method)

        def slow(*args: Any, **kwargs: Any) -> Any:
            nonlocal now
            now += seconds
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, method, slow)

    monkeypatch.setattr(tool, "clock", lambda: now)
    passes(1, NRTRDecoder, "forward_train")
    passes(2, torch.Tensor, "backward")
    passes(4, torch.optim.AdamW, "step")
    passes(8, TextEmbeddingDataset, "__getitems__")
    passes(16, TextEmbeddingPreprocessor, "forward")
    passes(32, DPTRLoss, "get_targets")
    passes(64, DPTRLoss, "forward")
    passes(128, SlotPrior, "update")
    steps = tool.train(cfg, tmp_path / "work_dir", steps=2)
    expected = dict(zip(tool.PARTS, (1, 2, 4, 8, 16, 96, 128), strict=True))
    assert steps == {"fp32": [expected] * 2, "bf16": [expected] * 2}


def test_precisions_take_turns(
    cfg: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, types = NRTRDecoder.forward_train, []

    def noting(*args: Any, **kwargs: Any) -> torch.Tensor:
        logits = forward(*args, **kwargs)
        types.append(logits.dtype)
        return logits

    monkeypatch.setattr(NRTRDecoder, "forward_train", noting)
    steps = tool.train(cfg, tmp_path / "work_dir", steps=1)
    assert types == [torch.float32, torch.bfloat16] * 2  # the first of each warms up
    assert [len(found) for found in steps.values()] == [1, 1]


def test_summary() -> None:
    def step(*seconds: float) -> dict[str, float]:
        return dict(zip(tool.PARTS, seconds, strict=True))

    fp32 = [step(4, 4, 1, 1, 0, 0, 0), step(2, 2, 2, 1, 1, 1, 1), step(9, 9, 1, 0, 0, 1, 0)]
    rows = tool.summarize({"fp32": fp32, "bf16": [step(1, 1, 1, 0, 0, 0, 1)] * 3})
    assert [row["step_s"] for row in rows] == [10, 4]
    assert [row["ratio_of_medians"] for row in rows] == [1, 2.5]
    assert [row["rest_share"] for row in rows] == [pytest.approx(0.1), 0.25]
    assert list(rows[0]["parts_s"].values()) == [4, 4, 1, 1, 0, 1, 0]
    assert rows[0]["repeats_s"] == [10, 10, 20]
    table = squeeze(tool.table(rows, 8)).splitlines()
    assert table[0] == "| step, batch of 8 | fp32 | bf16 | fp32, share | bf16, share |"
    assert table[2] == "| decoder forward | 4.000 s | 1.000 s | 40.0% | 25.0% |"
    assert table[-1].endswith("| 10.000 s | 4.000 s | 10.0% | 25.0% |")


def test_a_cpu_without_bfloat16_has_nothing_to_compare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "cpu_multiplies_bfloat16", lambda: False)
    monkeypatch.setattr(sys, "argv", ["stage1_profile", "words.txt"])
    with pytest.raises(SystemExit, match=r"neither AVX512-BF16 nor AMX.*nothing to compare"):
        tool.main()


def test_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Config({"model": nrtr()}).dump(tmp_path / "nrtr.py")
    (tmp_path / "words.txt").write_text("\n".join(words(40)))
    options = ("--config", tmp_path / "nrtr.py", "--model", "mmdptr-tiny", "--workers", 0)
    sizes = ("--labels", 16, "--batch", 4, "--steps", 2, "--json", tmp_path / "out")
    arguments = ("stage1_profile", tmp_path / "words.txt", *options, *sizes)
    monkeypatch.setattr(sys, "argv", list(map(str, arguments)))
    tool.main()
    rows = json.loads((tmp_path / "out").read_text())["rows"]
    assert [row["precision"] for row in rows] == ["fp32", "bf16"]
    for row in rows:
        assert len(row["repeats_s"]) == 2
        assert set(row["parts_s"]) == set(tool.PARTS)
    printed = squeeze(capsys.readouterr().out)
    assert printed.startswith("| step, batch of 4 |")
    assert f"ratio of medians: {rows[1]['ratio_of_medians']:.2f}" in printed
