# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Word images for training, without a camera."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from .backgrounds import draw_background
from .colours import luminance, pick_text_colour
from .distortions import camera_distortions, view_distortions
from .fonts import Fonts, load_font

FONT_SIZE = 44  # pixels; the crops are about as high


class WordRenderer:
    """Draws words as if they had been cut from photographs of signs and print.

    A word is drawn in one of the fonts that have its characters, with colours that stand out, on
    flat ground, a gradient or a piece of a photograph; sometimes with an outline, a shadow, wide
    or narrow spacing, or parts of other words around. It is then seen from the side, cut out as
    annotators cut, and photographed badly. The distortions are torchvision's.

    Args:
        fonts (Fonts): Fonts to draw from.
        pictures (Sequence[Image.Image]): Square photographs without text, for backgrounds; may be
            empty.
    """

    def __init__(self, fonts: Fonts, pictures: Sequence[Image.Image] = ()) -> None:
        self.fonts = fonts
        self.pictures = pictures
        self.view = view_distortions()
        self.camera = camera_distortions()

    def __call__(self, text: str, seed: Sequence[int]) -> Image.Image:
        """Render a word.

        Args:
            text (str): The word.
            seed (Sequence[int]): Seeds; the same ones draw the same image.

        Returns:
            Image.Image: RGB image, about 25 to 80 pixels high.

        Raises:
            ValueError: No font has all characters of the word, or it is nothing but blank.
        """
        rng = np.random.default_rng(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**63)))
            flat, mask = self._draw(rng, text)
            image, mask = self.view(
                tv_tensors.Image(torch.from_numpy(flat).permute(2, 0, 1)),
                tv_tensors.Mask(torch.from_numpy(mask)[None]),
            )
            return v2.functional.to_pil_image(self.camera(_cut_out(rng, image, mask[0])))

    def _draw(self, rng: Generator, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Draw a word with much room around it.

        Returns:
            tuple[np.ndarray, np.ndarray]: RGB image (H, W, 3) and how much of each pixel is letter
            (H, W), both uint8.
        """
        font = load_font(self.fonts.draw(rng, text), FONT_SIZE)
        if font.getmask(text).getbbox() is None:
            raise ValueError(f"{text!r} leaves no mark. Leave blank words out.")
        # A rim of another colour, or bold letters: any bolder, small ones would fill up.
        rimmed = rng.random() < 0.3
        outline = int(rng.choice((1, 2, 3)) if rimmed else rng.choice((0, 0, 1)))
        pieces = _spaced(rng, text, font)
        boxes = [font.getbbox(piece, stroke_width=outline) for _, piece in pieces]
        left = int(min(x + box[0] for (x, _), box in zip(pieces, boxes, strict=True)))
        right = int(max(x + box[2] for (x, _), box in zip(pieces, boxes, strict=True)))
        top, bottom = (int(pick(box[i] for box in boxes)) for pick, i in ((min, 1), (max, 3)))
        room = FONT_SIZE // 2 + (right - left) // 8
        size = (right - left + 2 * room, bottom - top + 2 * room)

        def stamp(stroke: int, dx: int = 0, dy: int = 0) -> np.ndarray:
            """Draw the letters on black: (H, W, 1), 0 to 1."""
            canvas = Image.new("L", size)
            draw = ImageDraw.Draw(canvas)
            for x, piece in pieces:
                place = (room - left + x + dx, room - top + dy)
                draw.text(place, piece, fill=255, font=font, stroke_width=stroke)
            return np.asarray(canvas, dtype=np.float32)[..., None] / 255

        ground = draw_background(rng, size, self.pictures)
        colour = pick_text_colour(rng, ground, contrast=rng.uniform(1.8, 6))
        if rng.random() < 0.15:
            self._draw_neighbours(rng, text, ground, colour, room + bottom - top)
        if rng.random() < 0.2:  # a shadow: dark under bright letters, bright under dark ones
            shade = 0.0 if luminance(colour) > 0.3 else 255.0
            ground = _paint(ground, 0.6 * stamp(outline, *rng.integers(-3, 4, 2)), shade)
        whole = stamp(outline)
        if rimmed:
            rim = 0.0 if luminance(colour) > 0.3 else 255.0
            image = _paint(_paint(ground, whole, rim), stamp(0), colour)
        else:
            image = _paint(ground, whole, colour)
        return np.clip(image, 0, 255).astype(np.uint8), (whole[..., 0] * 255).astype(np.uint8)

    def _draw_neighbours(
        self, rng: Generator, text: str, ground: np.ndarray, colour: np.ndarray, below: int
    ) -> None:
        """Draw letters of a line above or below into the ground."""
        canvas = Image.new("L", ground.shape[1::-1])
        letters = "".join(rng.permutation(list(text * 3)))
        font = load_font(self.fonts.draw(rng, letters), FONT_SIZE)
        at = below + int(rng.integers(2, 12))
        y = at if rng.random() < 0.5 else ground.shape[0] - at - FONT_SIZE
        ImageDraw.Draw(canvas).text((int(rng.integers(-30, 10)), y), letters, fill=255, font=font)
        ground[:] = _paint(ground, np.asarray(canvas, dtype=np.float32)[..., None] / 255, colour)


def _spaced(rng: Generator, text: str, font: ImageFont.FreeTypeFont) -> list[tuple[float, str]]:
    """Say what to draw where: all at once, or Latin letters one by one with more or less space."""
    if rng.random() < 0.6 or not text.isascii():
        return [(0.0, text)]
    space = rng.uniform(-0.03, 0.25) * FONT_SIZE
    return [(font.getlength(text[:i]) + i * space, x) for i, x in enumerate(text)]


def _paint(ground: np.ndarray, alpha: np.ndarray, colour: np.ndarray | float) -> np.ndarray:
    return ground * (1 - alpha) + colour * alpha


def _cut_out(rng: Generator, image: Tensor, mask: Tensor) -> Tensor:
    """Cut an image (3, H, W) around what the mask (H, W) shows, with uneven margins."""
    rows, columns = (torch.nonzero((mask > 64).any(dim=i)).flatten() for i in (1, 0))
    if not len(rows):  # turned out of the picture: hardly possible with so much room
        return image
    high = int(rows[-1] - rows[0]) + 1
    margins = (rng.uniform(-0.02, 0.2, 4) * high).astype(int)
    top, bottom = int(rows[0]) - margins[0], int(rows[-1]) + 1 + margins[1]
    left, right = int(columns[0]) - margins[2], int(columns[-1]) + 1 + margins[3]
    return image[:, max(0, top) : bottom, max(0, left) : right]
