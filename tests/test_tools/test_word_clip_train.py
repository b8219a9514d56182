# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import open_clip
import open_clip_train.main as program
import pytest
import torch
from open_clip_train.params import parse_args
from PIL import Image

TOOL = str(Path(__file__).parents[2] / "tools" / "word_clip" / "train.py")


def run(monkeypatch: pytest.MonkeyPatch, *argv: str) -> list[str]:
    """Run the tool; return what open_clip's program is called with."""
    given: list[str] = []
    monkeypatch.setattr(program, "main", given.extend)
    monkeypatch.setattr(sys, "argv", [TOOL, *argv])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(TOOL, run_name="__main__")
    if stopped.value.code:
        raise stopped.value
    return given


def test_open_clip_understands_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "settings.json").write_text(
        json.dumps({"val_images": 70, "shard_size": 60, "format": "webdataset"})
    )
    for number in range(3):
        (tmp_path / f"train-{number:05d}.tar").touch()
    args = parse_args(run(monkeypatch, str(tmp_path), "--logs", "runs", "--batch-size", "8"))
    assert args.model == "clip-word-tiny"
    assert args.train_data == f"{tmp_path}/train-{{00000..00002}}.tar"
    assert (args.val_data, args.val_num_samples) == (f"{tmp_path}/val-00000.tar", 60)
    assert (args.logs, args.batch_size, args.resume) == ("runs", 8, "latest")


def test_a_word_is_seen_from_its_first_letter_to_its_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"val_images": 70, "shard_size": 60, "format": "webdataset"}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    args = parse_args(run(monkeypatch, str(tmp_path)))
    _, transform, _ = open_clip.create_model_and_transforms(args.model, aug_cfg=args.aug_cfg)
    pixels = np.zeros((32, 128, 3), np.uint8)
    pixels[:, :10] = [255, 0, 0]
    pixels[:, -10:] = [0, 0, 255]
    torch.manual_seed(0)
    for _ in range(50):
        image = transform(Image.fromarray(pixels))
        assert image.shape == (3, 32, 128)
        red, blue = (image[channel, 16] > 0 for channel in (0, 2))
        assert red.sum() >= 6
        assert blue.sum() >= 6


def test_a_folder_without_images_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "settings.json").write_text(json.dumps({"format": "files"}))
    with pytest.raises(SystemExit, match=r"holds files\. Give --format webdataset"):
        run(monkeypatch, str(tmp_path / "files"))
    with pytest.raises(SystemExit, match=r"has no settings\.json. Make it with render_words\.py"):
        run(monkeypatch, str(tmp_path))
