# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

from mmdptr.clip import CLIPTextEncoder, Prompt, load_clip, packaged

sys.path.insert(0, str(Path(__file__).parents[2] / "tools" / "word_clip"))
tool = importlib.import_module("export")
SPELLED = Prompt(spelling="characters")


def test_what_training_has_seen_can_be_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = load_clip("clip-word-tiny", "random")
    torch.save({"state_dict": original.model.state_dict()}, tmp_path / "epoch_latest.pt")
    entries = [{"filename": f"{word}.jpg", "text": word} for word in ("Bed", "cab")]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, entries)))
    out = tmp_path / "weights" / "clip-word-tiny.safetensors"
    given = ["export.py", tmp_path / "epoch_latest.pt", tmp_path, "--out", out]
    monkeypatch.setattr(sys, "argv", [*map(str, given)])
    tool.main()
    assert "tokens" in capsys.readouterr().out
    monkeypatch.setattr(packaged, "WEIGHTS", out.parent)
    encoder = CLIPTextEncoder(load_clip("clip-word-tiny", "packaged"), SPELLED)
    exact = CLIPTextEncoder(original, SPELLED).encode(["bed", "CAB"]).tokens
    assert torch.allclose(encoder.encode(["bed", "CAB"]).tokens, exact, atol=0.01)
    with pytest.raises(ValueError, match="f a d"):
        encoder.encode(["fad"])


def test_separators_within_a_text_end_no_line(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text('{"filename": "0.jpg", "text": "a\u2028b"}\n\n', encoding="utf-8")
    clip = load_clip("clip-word-tiny", "random")
    assert tool.training_tokens(clip, path) >= {*clip.tokenizer.encode("a b")}


def test_a_folder_without_annotations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no .*train\.jsonl\. Give the folder of render"):
        tool.training_tokens(load_clip("clip-word-tiny", "random"), tmp_path / "train.jsonl")
