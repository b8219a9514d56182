# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""One command from a word list to a CLIP; nothing is trained, which takes too long."""

import importlib
import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import open_clip_train.main as program
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmocr.registry import DATASETS, MODELS
from open_clip_train.params import parse_args as parse_training

from mmdptr.clip import CLIPTextEncoder, Prompt, load_clip

sys.path.insert(0, str(Path(__file__).parents[2] / "tools" / "word_clip"))
tool = importlib.import_module("make")
FONT = str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))
WORDS = [f"{a}{b}{c}" for a in "βγδζθκλμ" for b in "αεηιο" for c in "νρστξπ"]


def pretend_to_train(arguments: list[str]) -> int:
    """Write what open_clip_train would, without having learnt anything."""
    args = parse_training(arguments)
    clip = load_clip("clip-word-tiny", args.pretrained)
    path = Path(args.logs) / args.name / "checkpoints" / "epoch_latest.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"epoch": args.epochs, "state_dict": clip.model.state_dict()}, path)
    return 0


def pretend_to_read(arguments: list[str]) -> SimpleNamespace:
    """Write the recognizer that MMOCR would train, without having learnt anything."""
    cfg = Config.fromfile(arguments[0])
    options = arguments[arguments.index("--cfg-options") + 1 :]
    cfg.merge_from_dict(dict(option.split("=") for option in options))
    init_default_scope("mmocr")
    assert len(DATASETS.build(cfg.train_dataloader.dataset)) == 60
    assert len(DATASETS.build(cfg.val_dataloader.dataset)) == 4
    assert cfg.train_cfg.max_iters == cfg.param_scheduler[1].end == "7"
    recognizer = MODELS.build(cfg.model)
    assert {*"βγδζθκλμαεηιονρστξπ"} <= {*recognizer.decoder.dictionary.dict}
    folder = Path(arguments[arguments.index("--work-dir") + 1])
    folder.mkdir(exist_ok=True)
    torch.save({"state_dict": recognizer.state_dict()}, folder / "iter_7.pth")
    (folder / "last_checkpoint").write_text(str(folder / "iter_7.pth"))
    return SimpleNamespace(returncode=0)


def run_here(command: list[str]) -> SimpleNamespace:
    """Run a tool in this process."""
    if "--cfg-options" in command:
        return pretend_to_read(command[2:])
    before, sys.argv = sys.argv, command[1:]
    try:
        runpy.run_path(command[1], run_name="__main__")
        return SimpleNamespace(returncode=0)
    except SystemExit as stopped:
        if isinstance(stopped.code, str):
            print(stopped.code)
        return SimpleNamespace(returncode=stopped.code and 1)
    finally:
        sys.argv = before


@pytest.fixture
def command(tmp_path: Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    corpus = tmp_path / "words.txt"
    corpus.write_text("\n".join(WORDS), encoding="utf-8")
    monkeypatch.setattr(tool.subprocess, "run", run_here)
    monkeypatch.setattr(program, "main", pretend_to_train)
    return [
        *("make.py", "greek", str(corpus), "--fonts", FONT, "--out", str(tmp_path)),
        *("--backgrounds", str(image_folder), "--images", "60", "--val-images", "4"),
        *("--reader-steps", "7"),
    ]


def test_one_command_makes_a_clip_of_a_script(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", [*command, "--epochs", "3"])
    for _ in range(2):  # again, it goes on with what is there
        tool.main()
        printed = capsys.readouterr().out
        weights = tmp_path / "clip-word-greek.safetensors"
        assert f"--model clip-word-tiny --pretrained {weights}" in printed
        assert "| val | " in printed
    spelled = Prompt(spelling="characters")
    encoder = CLIPTextEncoder(load_clip("clip-word-tiny", str(weights)), spelled)
    exact = CLIPTextEncoder(load_clip("clip-word-tiny", "random"), spelled)
    lines = (tmp_path / "greek" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    words = [json.loads(line)["text"] for line in lines]
    assert len(words) == 60
    torch.testing.assert_close(
        encoder.encode(words).pooled, exact.encode(words).pooled, atol=0.01, rtol=0
    )


def test_words_and_reader_share_a_dictionary_that_is_given(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dictionary = tmp_path / "given.txt"
    units = [*"βγδζθκλμαεηιονρστξπ", "স্কা"]  # one that MMOCR's own dictionary would refuse
    dictionary.write_text("\n".join(units), encoding="utf-8")
    (tmp_path / "words.txt").write_text("\n".join([*WORDS, "φως", "χα"]), encoding="utf-8")
    found = []
    calls: list[list[str]] = []

    def run_and_note(command: list[str]) -> SimpleNamespace:
        calls.append(command)
        return run_here(command)

    monkeypatch.setattr(tool.subprocess, "run", run_and_note)
    monkeypatch.setattr(sys, "argv", [*command, "--dictionary", str(dictionary), "--codes", "0"])
    tool.main()
    assert f"model.decoder.dictionary.dict_file={dictionary}" in calls[1]
    for split in ("train", "val"):
        lines = (tmp_path / "greek" / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
        found += [json.loads(line)["text"].lower() for line in lines]
    assert {*"".join(found)} <= {*dictionary.read_text(encoding="utf-8")}
    assert not (tmp_path / "greek" / "dictionary.txt").exists()


def test_it_ends_where_a_tool_fails(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [*command, "--backgrounds", "no/such/folder"])
    with pytest.raises(SystemExit, match="1"):
        tool.main()
    printed = capsys.readouterr().out
    assert "no/such/folder" in printed
    assert "train.py" not in printed
