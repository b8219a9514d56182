# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from mmdptr.rendering import Fonts, WordRenderer

TRUETYPE = Path(matplotlib.get_data_path(), "fonts", "ttf")
FONTS = [TRUETYPE / "DejaVuSans.ttf", TRUETYPE / "DejaVuSerif-Bold.ttf"]


@pytest.fixture(scope="module")
def renderer() -> WordRenderer:
    noise = np.random.default_rng(0).integers(0, 256, (240, 240, 3), dtype=np.uint8)
    return WordRenderer(Fonts(FONTS), [Image.fromarray(noise)])


def test_one_seed_draws_one_image(renderer: WordRenderer) -> None:
    first = renderer("Word", [3, 1])
    torch.rand(5)  # what was drawn before does not matter
    state = torch.get_rng_state()
    again, other = renderer("Word", [3, 1]), renderer("Word", [3, 2])
    assert first.tobytes() == again.tobytes()
    assert first.size != other.size or first.tobytes() != other.tobytes()
    assert torch.equal(torch.get_rng_state(), state)  # the caller's numbers go on


def test_every_word_comes_out_as_a_crop(renderer: WordRenderer) -> None:
    for seed in range(60):
        image = renderer("mmmmmmmmmm" if seed % 2 else "i", [seed])
        assert image.mode == "RGB"
        width, height = image.size
        assert 12 <= height <= 140, (seed, image.size)
        assert (width > 2 * height) if seed % 2 else (width < 1.6 * height), (seed, image.size)


def test_letters_stand_out() -> None:
    # Seen straight on in good light, the letters are where the mask says, in another colour.
    renderer = WordRenderer(Fonts(FONTS))
    for seed in range(30):
        image, mask = renderer._draw(np.random.default_rng(seed), "HHHH")
        letters, ground = image[mask > 250].astype(float), image[mask == 0].astype(float)
        assert len(letters) > 500
        assert np.abs(np.median(letters, 0) - np.median(ground, 0)).max() > 20, seed


def test_other_scripts_are_drawn(renderer: WordRenderer) -> None:
    assert renderer("слово", [0]).width > 50


def test_blank_words_are_refused(renderer: WordRenderer) -> None:
    for seed in range(5):  # with a rim and without
        with pytest.raises(ValueError, match="leaves no mark"):
            renderer(" ", [seed])
