# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Words as they are written, and images of them, by number."""

import string
from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from PIL import Image

from .word_renderer import WordRenderer

CODES = 0.08  # part of the texts that are numbers and codes instead of words


class WordSource:
    """An endless set of word images, of which each is had by its seed.

    A word is written as it is given, with a capital, or in capitals; now and then there is a
    number or a code of letters and digits instead.

    Args:
        words (Sequence[str]): The words, in lower case where the script has cases.
        renderer (WordRenderer): Draws them.
        codes (float): Part of the texts that are numbers and codes. Defaults to 0.08.

    Raises:
        ValueError: There are no words.
    """

    def __init__(self, words: Sequence[str], renderer: WordRenderer, codes: float = CODES) -> None:
        if not words:
            raise ValueError("There are no words to draw. Give some.")
        self.words = words
        self.renderer = renderer
        self.codes = codes

    def __call__(self, seed: Sequence[int]) -> tuple[Image.Image, str]:
        """Return the image of a seed, and the text on it."""
        text = self._draw_text(np.random.default_rng([*seed, 0]))
        return self.renderer(text, [*seed, 1]), text

    def _draw_text(self, rng: Generator) -> str:
        if rng.random() < self.codes:
            letters = string.digits + (string.ascii_uppercase if rng.random() < 0.4 else "")
            return "".join(rng.choice(list(letters), rng.integers(1, 9)))
        word = self.words[int(rng.integers(len(self.words)))]
        return (word, word.capitalize(), word.upper())[rng.choice(3, p=[0.4, 0.25, 0.35])]
