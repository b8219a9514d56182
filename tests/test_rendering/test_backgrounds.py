# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmdptr.rendering import Pictures, draw_background
from mmdptr.rendering.backgrounds import read_square


def photograph(path: Path, size: tuple[int, int] = (300, 100)) -> None:
    """Write a black picture that has a white square in its middle."""
    width, height = size
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[:, (width - height) // 2 : (width + height) // 2] = 255
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.mark.parametrize(("name", "size"), [("1.png", (300, 100)), ("2.JPG", (3000, 1000))])
def test_pictures_are_the_middle_squares_of_photographs(
    tmp_path: Path, name: str, size: tuple[int, int]
) -> None:
    with pytest.raises(FileNotFoundError, match=r"No \.jpg, \.jpeg, \.png"):
        Pictures(tmp_path)
    photograph(tmp_path / "of a day" / name, size)
    (picture,) = Pictures(tmp_path)
    assert (picture.size, picture.mode) == ((240, 240), "RGB")
    assert np.asarray(picture)[:, 4:-4].min() > 250


def test_what_is_drawn_depends_on_the_seed_alone(tmp_path: Path) -> None:
    for number in range(5):
        photograph(tmp_path / f"{number}.jpg")
    drawn = {}
    for seeds in (range(20), reversed(range(20))):
        read_square.cache_clear()
        pictures = Pictures(tmp_path)
        assert read_square.cache_info().currsize == 0, "opened before it is drawn"
        for seed in seeds:
            image = draw_background(np.random.default_rng(seed), (40, 20), pictures)
            assert np.array_equal(drawn.setdefault(seed, image), image)
    assert read_square.cache_info().currsize > 1


def test_few_pictures_are_kept(tmp_path: Path) -> None:
    most = read_square.cache_info().maxsize
    assert most is not None
    assert most * 240 * 240 * 4 < 32e6, "bytes in each process; Pillow has four a pixel"
    for number in range(most + 5):
        photograph(tmp_path / f"{number:03d}.png", (30, 10))
    assert len([*Pictures(tmp_path)]) == most + 5
    assert read_square.cache_info().currsize == most


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    photograph(tmp_path / "1.jpg")
    (tmp_path / "1.jpg").write_bytes((tmp_path / "1.jpg").read_bytes()[:-200])
    (tmp_path / "2.png").write_bytes(b"not a picture at all")
    pictures = Pictures(tmp_path)
    for number, name in enumerate(("1.jpg", "2.png")):
        with pytest.raises(OSError, match=f"{name} is not a photograph, or broken: .*Delete it"):
            pictures[number]
