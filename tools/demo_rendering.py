# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""How ``make_demo_data.py`` draws word images and cuts background pictures.

Every function takes its randomness from the generator it is given, so one seed draws one image.
"""

import io
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

from mmdptr.rendering import draw_background, luminance, pick_text_colour

FONT_SIZE = 48  # words are drawn at this size and scaled to their final height
FONTS = (
    *(f"DejaVuSans{style}.ttf" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSansMono{style}.ttf" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSerif{style}.ttf" for style in ("", "-Bold", "-Italic", "-BoldItalic")),
    *(f"STIXGeneral{style}.ttf" for style in ("", "Bol", "Italic", "BolIta")),
    *(f"cm{style}10.ttf" for style in ("r", "b", "ss", "tt", "ti")),
)


class Photo(NamedTuple):
    """A photograph among the sample data of scikit-image.

    Args:
        name (str): File name.
        box (tuple[int, int, int, int], optional): Left, top, right and bottom of the part without
            text, None for all. Defaults to None.
        tint (str, optional): Colour given to the middle tones of a grey picture. Defaults to
            None.
    """

    name: str
    box: tuple[int, int, int, int] | None = None
    tint: str | None = None


# All of them are in the public domain or under CC0, and none needs a download.
PHOTOS = (
    Photo("astronaut.png", box=(60, 0, 380, 300)),
    Photo("brick.png", tint="#a5644a"),
    Photo("camera.png", tint="#8a8f96"),
    Photo("chelsea.png"),
    Photo("coffee.png"),
    Photo("grass.png", tint="#6f8f3f"),
    Photo("gravel.png", tint="#9a8f80"),
    Photo("hubble_deep_field.jpg"),
    Photo("moon.png", tint="#8d8a86"),
    Photo("rocket.jpg"),
)


def package_file(package: str, path: str) -> Path:
    """Find a file inside an installed package, without importing the package.

    Args:
        package (str): Package name.
        path (str): File inside the package.

    Returns:
        Path: The file.

    Raises:
        FileNotFoundError: If the package or the file is missing.
    """
    spec = find_spec(package)
    file = Path(spec.origin).parent / path if spec and spec.origin else None
    if file is None or not file.is_file():
        found = f"the package is installed, but holds no {path}" if spec else "it is not installed"
        raise FileNotFoundError(
            f"expected {path} inside the package {package}, but {found}; "
            "install the requirements of mmdptr and mmocr again"
        )
    return file


def cut_background(rng: Generator, photo: Photo, side: int = 240) -> Image.Image:
    """Cut a random square from a photograph.

    Args:
        rng (Generator): Source of randomness.
        photo (Photo): Where to cut.
        side (int): Side of the result in pixels. Defaults to 240.

    Returns:
        Image.Image: RGB square.
    """
    with Image.open(package_file("skimage", f"data/{photo.name}")) as file:
        image = file.convert("RGB").crop(photo.box)
    if photo.tint:
        image = ImageOps.colorize(image.convert("L"), "black", "white", mid=photo.tint)
    cut = int(rng.uniform(0.55, 0.95) * min(image.size))
    left, top = (int(rng.integers(0, length - cut + 1)) for length in image.size)
    image = image.resize((side, side), Image.Resampling.BICUBIC, (left, top, left + cut, top + cut))
    return ImageOps.mirror(image) if rng.random() < 0.5 else image


def perspective_coefficients(target: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Solve for the eight numbers ``Image.transform`` wants for a perspective.

    Args:
        target (np.ndarray): Four corners (x, y) in the result.
        source (np.ndarray): The four corners (x, y) they come from.

    Returns:
        np.ndarray: a..h with ``x' = (ax + by + c) / (gx + hy + 1)`` and likewise ``y'``.
    """
    rows = []
    for (x, y), (u, v) in zip(target, source, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    return np.linalg.solve(np.array(rows), source.reshape(-1))


@lru_cache(maxsize=len(FONTS))
def load_font(name: str) -> ImageFont.FreeTypeFont:
    """Load a font of matplotlib.

    Args:
        name (str): File name, one of ``FONTS``.

    Returns:
        ImageFont.FreeTypeFont: The font at ``FONT_SIZE``.
    """
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", name)
    # Raqm, where installed, would place letters differently from machine to machine.
    return ImageFont.truetype(path, FONT_SIZE, layout_engine=ImageFont.Layout.BASIC)


def draw_mask(rng: Generator, text: str, height: int) -> Image.Image:
    """Draw white letters on black, slightly rotated, sheared and seen from the side.

    Args:
        rng (Generator): Source of randomness.
        text (str): Word to draw.
        height (int): Height of the result in pixels.

    Returns:
        Image.Image: Grey mask, cropped around the word with uneven padding.
    """
    font = load_font(FONTS[rng.integers(len(FONTS))])
    left, top, right, bottom = font.getbbox(text)
    width, tall = int(right - left), int(bottom - top)
    flat = Image.new("L", (width, tall))
    ImageDraw.Draw(flat).text((-left, -top), text, fill=255, font=font)

    corners = np.array([[0, 0], [width, 0], [width, tall], [0, tall]], dtype=np.float64)
    angle, shear = np.radians(rng.uniform(-4, 4)), rng.uniform(-0.15, 0.15)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = corners @ (turn @ np.array([[1, shear], [0, 1]])).T
    moved += rng.uniform(-0.06, 0.06, (4, 2)) * tall
    pads = rng.uniform(0.03, 0.25, (2, 2)) * tall  # left and top, right and bottom
    moved += pads[0] - moved.min(axis=0)

    scale = height / (moved[:, 1].max() + pads[1, 1])
    size = (max(8, round((moved[:, 0].max() + pads[1, 0]) * scale)), height)
    if scale < 1:  # a perspective samples single points, so shrink first to keep edges smooth
        flat = flat.resize((max(1, round(width * scale)), max(1, round(tall * scale))))
        corners *= np.array(flat.size) / (width, tall)
    coefficients = perspective_coefficients(moved * scale, corners)
    method = Image.Transform.PERSPECTIVE
    return flat.transform(size, method, tuple(coefficients), Image.Resampling.BILINEAR)


def render_word(rng: Generator, text: str, pictures: Sequence[Image.Image]) -> Image.Image:
    """Render a word as if it were cut from a photograph of a sign.

    Args:
        rng (Generator): Source of randomness.
        text (str): Word to draw.
        pictures (Sequence[Image.Image]): Square pictures for backgrounds.

    Returns:
        Image.Image: RGB image, 32 to 64 pixels high.
    """
    height = int(rng.triangular(32, 40, 64.99))
    mask = draw_mask(rng, text, height)
    canvas = draw_background(rng, mask.size, pictures)
    colour = pick_text_colour(rng, canvas, contrast=rng.uniform(2.2, 6))
    alpha = np.asarray(mask, dtype=np.float32)[..., None] / 255
    if rng.random() < 0.2:  # a shadow: dark under bright letters, bright under dark ones
        shade = 0 if luminance(colour) > 0.3 else 255
        shifted = 0.6 * np.roll(alpha, rng.integers(1, 3, 2), axis=(0, 1))
        canvas = canvas * (1 - shifted) + shade * shifted
    canvas = canvas * (1 - alpha) + colour * alpha

    image = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.1) * height / 48))
    noisy = np.asarray(image) + rng.normal(0, rng.uniform(0, 9), (height, image.width, 1))
    image = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
    if rng.random() < 0.5:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=int(rng.integers(30, 91)))
        image = Image.open(buffer).convert("RGB")
    return image
