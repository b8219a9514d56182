# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.hooks import EMAHook
from mmocr.registry import HOOKS, MODELS

from mmdptr.engine import DPTRExportHook, load_decoder
from tests.builders import nrtr, nrtr_decoder


def runner(**attributes: Any) -> Any:
    alone = {"call_hook": lambda *_, **__: None, "work_dir": "runs/x"}
    return SimpleNamespace(**{**alone, **attributes})


@pytest.fixture
def stage1() -> torch.nn.Module:
    torch.manual_seed(0)
    return MODELS.build({"type": "DPTRPretrainer", "decoder": nrtr_decoder(), "embed_dims": 32})


def test_decoder_is_written_with_its_description(stage1: Any, tmp_path: Path) -> None:
    HOOKS.build({"type": "DPTRExportHook"}).after_train(runner(model=stage1, work_dir=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["decoder.pth"]
    content = torch.load(tmp_path / "decoder.pth", weights_only=True)
    assert content["meta"]["dptr"] == {
        "decoder": "NRTRDecoder",
        "dictionary": stage1.decoder.dictionary.dict,
        "embed_dims": 32,
        "parts": ["decoder"],
    }
    state = stage1.state_dict()
    wanted = {key for key in state if key.startswith("decoder.")} | {"neck.queries"}
    assert set(content["state_dict"]) == wanted
    assert all(torch.equal(content["state_dict"][key], state[key]) for key in wanted)
    recognizer = MODELS.build(nrtr(neck={"type": "FMU"}))
    assert load_decoder(recognizer, tmp_path / "decoder.pth").loaded == len(wanted) - 1


def test_averaged_weights_are_what_is_written(stage1: Any, tmp_path: Path) -> None:
    averaging = EMAHook(momentum=0.5)

    def call_hook(name: str, **arguments: Any) -> None:
        getattr(averaging, name)(training, **arguments)

    training = runner(model=stage1, work_dir=tmp_path, iter=5, call_hook=call_hook)
    averaging.before_run(training)
    key = "decoder.classifier.weight"
    before = stage1.state_dict()[key].clone()
    averaging.after_train_iter(training, 0)  # the first one is a copy
    with torch.no_grad():
        stage1.decoder.classifier.weight += 1
    averaging.after_train_iter(training, 1)
    DPTRExportHook().after_train(training)
    written = torch.load(tmp_path / "decoder.pth", weights_only=True)["state_dict"]
    torch.testing.assert_close(written[key], before + 0.5)
    torch.testing.assert_close(stage1.state_dict()[key], before + 1)  # trained on as it was


def test_checkpoints_are_described_too(stage1: Any) -> None:
    checkpoint: dict[str, Any] = {"meta": {"epoch": 1}}
    DPTRExportHook().before_save_checkpoint(runner(model=stage1), checkpoint)
    assert checkpoint["meta"]["dptr"]["decoder"] == "NRTRDecoder"
    assert checkpoint["meta"]["epoch"] == 1


def test_interrupted_write_leaves_no_decoder(
    stage1: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(content: Any, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        DPTRExportHook().after_train(runner(model=stage1, work_dir=tmp_path))
    assert not (tmp_path / "decoder.pth").exists()


def test_export_belongs_to_stage_1(tmp_path: Path) -> None:
    model = MODELS.build(nrtr())
    with pytest.raises(TypeError, match=r"found DPTRRecognizer. Remove it from custom_hooks"):
        DPTRExportHook().after_train(runner(model=model, work_dir=tmp_path))
