# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmdptr.rendering import WordSource, read_pictures


def draw(text: str, seed: list[int]) -> Image.Image:
    """Stands for a renderer: an image as wide as the text is long."""
    return Image.new("L", (len(text), 1), seed[0])


def test_texts_are_words_as_they_are_written_and_codes() -> None:
    source = WordSource(["tree"], draw, codes=0.5)  # type: ignore[arg-type]
    texts = [source([seed])[1] for seed in range(400)]
    codes = [x for x in texts if x.lower() != "tree"]
    assert set(texts) - set(codes) == {"tree", "Tree", "TREE"}
    assert 150 < len(codes) < 250
    assert all(1 <= len(x) <= 8 and x == x.upper() and x.isalnum() for x in codes)
    assert sum(x.isdigit() for x in codes) > len(codes) / 2


def test_a_seed_is_one_word_and_one_image() -> None:
    source = WordSource(["a", "bb", "ccc"], draw)  # type: ignore[arg-type]
    pairs = [source([7, number]) for number in range(20)]
    again = [source([7, number]) for number in range(20)]
    assert [text for _, text in pairs] == [text for _, text in again]
    assert [image.width for image, _ in pairs] == [len(text) for _, text in pairs]
    with pytest.raises(ValueError, match="no words"):
        WordSource([], draw)  # type: ignore[arg-type]


def test_pictures_are_the_middle_squares_of_photographs(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"No \.jpg, \.jpeg, \.png"):
        read_pictures(tmp_path)
    pixels = np.zeros((100, 300, 3), dtype=np.uint8)
    pixels[:, 100:200] = 255
    (tmp_path / "of a day").mkdir()
    Image.fromarray(pixels).save(tmp_path / "of a day" / "1.png")
    (picture,) = read_pictures(tmp_path)
    assert (picture.size, picture.mode) == ((240, 240), "RGB")
    assert np.asarray(picture)[:, 4:-4].min() > 250
