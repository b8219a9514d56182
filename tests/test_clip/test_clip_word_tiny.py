# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The weights that come with the package."""

import hashlib
from pathlib import Path

import matplotlib
import pytest
import torch
from PIL import Image
from torch.nn import functional

from mmdptr.clip import CLIPTextEncoder, LoadedCLIP, Prompt, load_clip
from mmdptr.clip.packaged import packaged_models
from mmdptr.rendering import Fonts, WordRenderer

FONT = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
CARD = Path(__file__).parents[2] / "docs" / "clip_word_tiny.md"
# As long as one another, and alike.
WORDS = ["house", "horse", "mouse", "paper", "piper", "tiger", "cable", "table", "29517", "29511"]


@pytest.fixture(scope="module")
def clip() -> LoadedCLIP:
    return load_clip("clip-word-tiny")


def test_it_is_the_file_of_the_model_card() -> None:
    file = packaged_models()["clip-word-tiny"]
    assert file.stat().st_size <= 12e6
    card = CARD.read_text(encoding="utf-8")
    assert hashlib.sha256(file.read_bytes()).hexdigest() in card
    assert f"{file.stat().st_size / 1e6:.1f} MB" in card


def test_it_sees_what_is_written(clip: LoadedCLIP) -> None:
    renderer = WordRenderer(Fonts([FONT]), [Image.new("RGB", (200, 200), (90, 120, 150))])
    drawn = [renderer(word, [3, i]) for i, word in enumerate(WORDS)]
    images = [clip.preprocess(x.resize((128, 32), Image.Resampling.BICUBIC)) for x in drawn]
    words = CLIPTextEncoder(clip, Prompt(spelling="characters")).encode(WORDS).pooled
    with torch.inference_mode():
        seen = functional.normalize(clip.model.encode_image(torch.stack(images)), dim=-1)
    found = (seen @ functional.normalize(words, dim=-1).T).argmax(1)
    right = (found == torch.arange(len(WORDS))).sum()
    assert right >= 0.8 * len(WORDS)  # one image in ten cannot be read by anybody


def test_it_knows_letters_and_digits_of_any_case(clip: LoadedCLIP) -> None:
    encoder = CLIPTextEncoder(clip, Prompt(spelling="characters"))
    every = "abcdefghijklmnopqrstuvwxyz"
    found = encoder.encode([every, every.upper(), "0123456789"]).pooled
    assert torch.equal(found[0], found[1])
    with pytest.raises(ValueError, match="was trained on few tokens"):
        encoder.encode(["ж"])
