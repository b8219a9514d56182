# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""What letters stand on."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageFilter

from .colours import random_colours

SUFFIXES = (".jpg", ".jpeg", ".png")
SIDE = 240  # pixels


class Pictures(Sequence[Image.Image]):
    """The middle squares of all photographs of a folder and its subfolders, at one size.

    Each is opened when it is drawn, for there may be thousands; the latest ones are kept.

    Args:
        folder (str or Path): Folder of ``.jpg``, ``.jpeg`` and ``.png`` files.

    Raises:
        FileNotFoundError: There is none.
    """

    def __init__(self, folder: str | Path) -> None:
        self.paths = sorted(x for x in Path(folder).rglob("*") if x.suffix.lower() in SUFFIXES)
        if not self.paths:
            raise FileNotFoundError(
                f"No {', '.join(SUFFIXES)} in {folder}. Give photographs without text."
            )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> Image.Image:  # type: ignore[override]  # no slices
        return read_square(self.paths[number])


@lru_cache(maxsize=128)
def read_square(path: Path) -> Image.Image:
    """Read the middle square of a photograph.

    Raises:
        OSError: The file is not a photograph, or broken.
    """
    try:
        with Image.open(path) as image:
            image.draft("RGB", (SIDE, SIDE))  # decodes large JPEGs at a fraction of their size
            left, top = ((side - min(image.size)) // 2 for side in image.size)
            box = (left, top, left + min(image.size), top + min(image.size))
            return image.convert("RGB").resize((SIDE, SIDE), box=box)
    except (OSError, SyntaxError) as error:  # Pillow has the latter for some PNGs
        raise OSError(f"{path} is not a photograph, or broken: {error}. Delete it.") from error


def draw_background(
    rng: Generator, size: tuple[int, int], pictures: Sequence[Image.Image]
) -> np.ndarray:
    """Draw one colour, a gradient of two colours, or a soft piece of a picture.

    Args:
        rng (Generator): Source of randomness.
        size (tuple[int, int]): Width and height.
        pictures (Sequence[Image.Image]): Square pictures to cut from.

    Returns:
        np.ndarray: RGB values 0..255 of shape (H, W, 3), as float32.
    """
    (width, height), kind = size, rng.random()
    if kind < 0.3 or (kind >= 0.6 and not pictures):
        return np.full((height, width, 3), random_colours(rng, 1)[0], dtype=np.float32)
    if kind < 0.6:
        start = random_colours(rng, 1)[0]
        end = np.clip(start + rng.uniform(-90, 90, 3), 0, 255)
        x, y = np.linspace(0, 1, width), np.linspace(0, 1, height)[:, None]
        share = rng.random()
        return (start + (end - start) * (share * x + (1 - share) * y)[..., None]).astype(np.float32)
    picture = pictures[int(rng.integers(len(pictures)))]
    high = rng.uniform(0.25, 0.6) * picture.height
    wide = min(picture.width, high * width / height)
    left, top = rng.uniform(0, picture.width - wide), rng.uniform(0, picture.height - high)
    piece = picture.resize(
        size, Image.Resampling.BICUBIC, (left, top, left + wide, top + high)
    ).filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 2.5)))
    values = np.asarray(piece, dtype=np.float32)
    mean = values.mean(axis=(0, 1))
    return mean + rng.uniform(0.3, 0.8) * (values - mean)  # flatter, so that letters stand out
