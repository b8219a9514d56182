# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Words as they are written, and images of them, by number."""

import string
from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from PIL import Image

from .word_renderer import WordRenderer

CODES = 0.08  # part of the texts that are numbers and codes instead of words
CHARACTERS = string.digits + string.ascii_uppercase  # of codes


class WordSource:
    """An endless set of word images, of which each is had by its seed.

    A word is written as it is given, with a capital, or in capitals if a font has them; now and
    then there is a number or a code of letters and digits instead.

    Args:
        words (Sequence[str]): The words, in lower case where the script has cases. A font has the
            characters of each.
        renderer (WordRenderer): Draws them.
        codes (float): Part of the texts that are numbers and codes. Defaults to 0.08.

    Raises:
        ValueError: There are no words, or codes are wanted and no font has their characters.
    """

    def __init__(self, words: Sequence[str], renderer: WordRenderer, codes: float = CODES) -> None:
        if not words:
            raise ValueError("There are no words to draw. Give some.")
        if codes and not renderer.fonts.can_draw(CHARACTERS):
            raise ValueError(
                f"codes is {codes}, but none of {len(renderer.fonts)} fonts has all of "
                f"{CHARACTERS}. Add a font that has them, or make codes 0."
            )
        self.words = words
        self.renderer = renderer
        self.codes = codes

    def __call__(self, seed: Sequence[int]) -> tuple[Image.Image, str]:
        """Return the image of a seed, and the text on it."""
        text = self._draw_text(np.random.default_rng([*seed, 0]))
        return self.renderer(text, [*seed, 1]), text

    def _draw_text(self, rng: Generator) -> str:
        if rng.random() < self.codes:
            letters = CHARACTERS if rng.random() < 0.4 else string.digits
            return "".join(rng.choice(list(letters), rng.integers(1, 9)))
        word = self.words[int(rng.integers(len(self.words)))]
        form = (word, word.capitalize(), word.upper())[rng.choice(3, p=[0.4, 0.25, 0.35])]
        # Georgian has capitals that few fonts have; those of Greek may need an accent of their own.
        return form if self.renderer.fonts.can_draw(form) else word
