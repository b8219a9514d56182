# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""What the tests of several folders share: a tiny CLIP, a store and a bank, LSTMs on any CPU."""

import random
import string
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from mmdptr.clip import CLIPImageEncoder, CLIPTextEncoder, LoadedCLIP, Prompt, load_clip
from mmdptr.datasets.label_filter import LabelFilter
from mmdptr.extraction import extract_orp_bank, extract_text_embeddings, find_images


@pytest.fixture(scope="session")
def tiny_clip() -> LoadedCLIP:
    """The package's own small CLIP, 256 wide, with random weights."""
    return load_clip("mmdptr-tiny", "random")


@pytest.fixture(scope="session")
def text_store(tiny_clip: LoadedCLIP, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text-embedding store of 200 labels, each of 1 to 8 of the 36 letters and digits.

    Their characters are spelled one by one; the labels lie in several shards.
    """
    rng = random.Random(0)
    characters = string.ascii_lowercase + string.digits
    labels = dict.fromkeys(characters)  # every character occurs
    while len(labels) < 200:
        labels["".join(rng.choices(characters, k=rng.randint(2, 8)))] = None
    folder = tmp_path_factory.mktemp("text_store")
    corpus = folder / "words.txt"
    corpus.write_text("\n".join(labels) + "\n")
    encoder = CLIPTextEncoder(tiny_clip, Prompt(spelling="characters"))
    extract_text_embeddings([corpus], folder / "store", encoder, LabelFilter(), shard_size=64)
    return folder / "store"


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five images of different sizes and shades."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("images")
    for i in range(5):
        pixels = rng.normal(60 + 30 * i, 40, size=(180 + 20 * i, 260 - 10 * i, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="session")
def orp_bank(
    tiny_clip: LoadedCLIP, image_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An ORP bank of 5 images with 50 tokens each, in two shards."""
    folder = tmp_path_factory.mktemp("orp_bank") / "bank"
    encoder = CLIPImageEncoder(tiny_clip)
    extract_orp_bank(find_images(image_folder), folder, encoder, shard_size=3)
    return folder


@pytest.fixture
def lstms_on_any_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute LSTMs in float32 where oneDNN has none in half precision for this CPU."""
    forward = nn.LSTM.forward

    def or_in_float32(self: nn.LSTM, inputs: Tensor, state: Any = None) -> Any:
        try:
            return forward(self, inputs, state)
        except RuntimeError as error:
            if "could not create a primitive" not in str(error):
                raise
            with torch.autocast("cpu", enabled=False):
                state = state and tuple(x.float() for x in state)
                return forward(self, inputs.float(), state)

    monkeypatch.setattr(nn.LSTM, "forward", or_in_float32)
