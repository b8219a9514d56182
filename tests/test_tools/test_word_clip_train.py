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
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmocr.registry import MODELS
from open_clip_train.data import get_data
from open_clip_train.params import parse_args
from PIL import Image

from mmdptr.clip import load_clip
from mmdptr.clip.prompt import SPACE

ROOT = Path(__file__).parents[2]
TOOL = str(ROOT / "tools" / "word_clip" / "train.py")
READER = str(ROOT / "configs" / "word_clip" / "nrtr_clip-word-tiny.py")
RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Words of which the first letters are red and the last ones are blue."""
    folder = tmp_path / "words"
    folder.mkdir()
    pixels = np.zeros((32, 128, 3), np.uint8)
    pixels[:, :10], pixels[:, -10:] = RED, BLUE
    for split, words in {"train": ["Bed", 'a"b\tc'], "val": ["cab"]}.items():
        entries = [{"filename": f"{split}{i}.png", "text": x} for i, x in enumerate(words)]
        for entry in entries:
            Image.fromarray(pixels).save(folder / entry["filename"])
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, entries)))
    return folder


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


def test_open_clip_reads_whole_words_and_their_prompts(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = str(tmp_path / "logs")
    args = parse_args(run(monkeypatch, str(images), "--logs", logs, "--batch-size", "1"))
    assert args.model == "clip-word-tiny"
    assert (args.logs, args.batch_size, args.resume) == (logs, 1, "latest")
    args.distributed = False
    _, *transforms = open_clip.create_model_and_transforms(args.model, aug_cfg=args.aug_cfg)
    tokenizer = open_clip.get_tokenizer(args.model)
    data = get_data(args, transforms, tokenizer=tokenizer)
    torch.manual_seed(0)
    for split, prompts in {
        "train": ["a photo of a 'B e d'", f"a photo of a 'a \" b {SPACE} c'"],
        "val": ["a photo of a 'c a b'"],
    }.items():
        expected = {tuple(x) for x in tokenizer(prompts).tolist()}
        for _ in range(20):
            found = [(image[0], text[0]) for image, text in data[split].dataloader]
            assert {tuple(text.tolist()) for _, text in found} == expected
            for image, _ in found:
                assert image.shape == (3, 32, 128)
                red, blue = (image[channel, 16] > 0 for channel in (0, 2))
                # Had open_clip cut out the middle, as it does by itself, none were left.
                assert red.sum() >= 6
                assert blue.sum() >= 6


def test_it_begins_with_the_image_tower_of_a_reader(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = Config.fromfile(READER)
    init_default_scope("mmocr")
    torch.manual_seed(5)
    recognizer = MODELS.build(cfg.model)
    torch.save({"state_dict": recognizer.state_dict()}, tmp_path / "reader.pth")
    options = ("--logs", str(tmp_path / "logs"), "--reader", str(tmp_path / "reader.pth"))
    args = parse_args(run(monkeypatch, str(images), *options))
    started, fresh = (load_clip("clip-word-tiny", x) for x in (args.pretrained, "random"))
    pixels = torch.rand(1, 3, 32, 128)
    recognizer.eval()
    expected = recognizer.backbone(pixels).flatten(2).mean(2)
    torch.testing.assert_close(started.model.encode_image(pixels), expected, rtol=0, atol=1e-5)
    assert torch.equal(started.model.text_projection, fresh.model.text_projection)
    torch.save({"state_dict": {"backbone.weight": torch.ones(1)}}, tmp_path / "other.pth")
    with pytest.raises(SystemExit, match=r"other\.pth has no image tower of clip-word-tiny"):
        run(monkeypatch, str(images), *options[:3], str(tmp_path / "other.pth"))


def test_words_too_long_for_the_context_are_left_out_and_counted(
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # 36 tokens: start and end, six of the prompt, and 28 letters between.
    entries = [{"filename": "train0.png", "text": letter * 28} for letter in "ab"]
    (images / "val.jsonl").write_text("\n".join(map(json.dumps, entries)))
    entries[1]["text"] += "b"
    (images / "train.jsonl").write_text("\n".join(map(json.dumps, entries)))
    run(monkeypatch, str(images), "--logs", str(tmp_path))
    tables = [(tmp_path / f"words_{x}.tsv").read_text() for x in ("train", "val")]
    assert [table.count("photo") for table in tables] == [1, 2]
    printed = capsys.readouterr().out
    assert "train.jsonl: 1 of the words left out, each exceeds CLIP context." in printed
    assert "val.jsonl" not in printed
    (images / "val.jsonl").write_text(json.dumps(entries[1]))
    with pytest.raises(SystemExit, match=r"val\.jsonl has no word that clip-word-tiny can hold"):
        run(monkeypatch, str(images), "--logs", str(tmp_path))


def test_a_folder_without_images_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match=r"no .*train\.jsonl\. Make it with render_words\.py"):
        run(monkeypatch, str(tmp_path), "--logs", str(tmp_path / "logs"))


@pytest.mark.parametrize(("native", "precision"), [(True, "amp_bf16"), (False, "fp32")])
def test_a_cpu_without_bfloat16_trains_in_float32(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, native: bool, precision: str
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("mmdptr.bfloat16.cpu_multiplies_bfloat16", lambda: native)
    options = ("--logs", str(tmp_path / "logs"))
    assert parse_args(run(monkeypatch, str(images), *options)).precision == precision
    given = run(monkeypatch, str(images), *options, "--precision", "pure_bf16")
    assert parse_args(given).precision == "pure_bf16"
