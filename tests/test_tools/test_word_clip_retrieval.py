# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn import functional

from mmdptr.clip import CLIPTextEncoder, LoadedCLIP, Prompt, load_clip

sys.path.insert(0, str(Path(__file__).parents[2] / "tools" / "word_clip"))
tool = importlib.import_module("retrieval")

# Two images of one word, however it is written, and one that is nothing but a symbol.
TEXTS = ["Sun", "moon", "sun", "star-1", "&"]


@pytest.fixture(scope="module")
def clip() -> LoadedCLIP:
    return load_clip("clip-word-tiny", "random")


@pytest.fixture(scope="module")
def annotations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crops")
    lines = []
    for i, text in enumerate(TEXTS):
        Image.new("RGB", (60 + i, 20), (50 * i, 0, 0)).save(folder / f"{i}.png")
        lines.append(json.dumps({"filename": f"{i}.png", "text": text}))
    (folder / "test.jsonl").write_text("\n".join(lines) + "\n")
    return folder / "test.jsonl"


def see(clip: LoadedCLIP, words: list[str], monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """Let the CLIP see certain words in the images, whatever they show; return their sizes."""
    features = CLIPTextEncoder(clip, Prompt(spelling="characters")).encode(words).pooled
    sizes: list[torch.Size] = []

    def embed_images(_: LoadedCLIP, images: list[torch.Tensor]) -> torch.Tensor:
        sizes.extend(image.shape for image in images)
        return functional.normalize(features.clone(), dim=-1)

    monkeypatch.setattr(tool, "embed_images", embed_images)
    return sizes


def test_what_is_seen_is_found(
    clip: LoadedCLIP, annotations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = see(clip, ["sun", "moon", "sun", "star1"], monkeypatch)
    assert tool.retrieve(clip, annotations) == (4, 3, 100.0, 100.0, 100.0)
    assert sizes == [(3, 32, 128)] * 4  # the whole word, squashed


def test_separators_within_a_text_end_no_line(tmp_path: Path) -> None:
    Image.new("RGB", (60, 20)).save(tmp_path / "0.png")
    path = tmp_path / "test.jsonl"
    path.write_text('{"filename": "0.png", "text": "a\u2028b"}\n\n', encoding="utf-8")
    assert [text for _, text in tool.read_set(path)] == ["a\u2028b"]


def test_what_is_mistaken_is_not(
    clip: LoadedCLIP, annotations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    see(clip, ["sun", "sun", "moon", "star1"], monkeypatch)
    found = tool.retrieve(clip, annotations)
    assert (found.word_at_1, found.word_at_5) == (50.0, 100.0)
    assert found.image_at_1 < 100


def test_the_command_prints_a_table(
    annotations: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["retrieval.py", str(annotations), "--pretrained", "random"]
    monkeypatch.setattr(sys, "argv", argv)
    tool.main()
    assert "| test | 4 | 3 | " in capsys.readouterr().out


def test_marks_are_part_of_a_word() -> None:
    assert [tool.normalize(x) for x in ("It's", "কি", "คน!", "Straße-1")] == [
        *("its", "কি", "คน", "straße1")
    ]


def test_words_of_unknown_characters_are_counted_and_left_out(
    clip: LoadedCLIP,
    annotations: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    encoder = CLIPTextEncoder(clip, Prompt(spelling="characters"))
    known = frozenset(x for word in ("sun", "moon") for x in encoder.tokenize(word))
    some = replace(clip, known_tokens=known)
    see(clip, ["sun", "moon", "sun"], monkeypatch)
    assert tool.retrieve(some, annotations) == (3, 2, 100.0, 100.0, 100.0)
    assert capsys.readouterr().out == (
        f"{annotations}: 1 of the words left out, each holds tokens that the CLIP weights do not "
        "know.\n"
    )
    other = replace(clip, known_tokens=frozenset(encoder.tokenize("x")))
    with pytest.raises(ValueError, match="has no word that this CLIP knows"):
        tool.retrieve(other, annotations)


def test_words_too_long_for_the_context_are_not_called_unknown(
    clip: LoadedCLIP,
    annotations: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    image = str(annotations.parent / "0.png")
    entries = [{"filename": image, "text": text} for text in ("sun", 29 * "b")]
    (tmp_path / "long.jsonl").write_text("\n".join(map(json.dumps, entries)))
    see(clip, ["sun"], monkeypatch)
    assert tool.retrieve(clip, tmp_path / "long.jsonl").images == 1
    printed = capsys.readouterr().out
    assert printed.endswith("long.jsonl: 1 of the words left out, each exceeds CLIP context.\n")
