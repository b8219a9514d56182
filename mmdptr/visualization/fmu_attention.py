# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""A picture of what the FMU's queries look at."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from mmdptr.rendering import Fonts

from .font_families import font_families


@dataclass(frozen=True)
class Reading:
    """One image as a recognizer read it.

    Args:
        image (np.ndarray): RGB, uint8, of shape (h, w, 3).
        truth (str): The label.
        prediction (str): What was read.
        attention (np.ndarray): Attention of Q queries over a grid, of shape (Q, H, W).
    """

    image: np.ndarray
    truth: str
    prediction: str
    attention: np.ndarray

    @property
    def correct(self) -> bool:
        """bool: Whether it was read right, case and symbols aside, as MMOCR's tables count."""
        return _letters(self.truth) == _letters(self.prediction)


def draw_fmu_attention(
    readings: Sequence[Reading], columns: int = 3, fonts: Fonts | None = None
) -> Figure:
    """Draw images with their predictions, and which columns of the image each query looks at.

    Under each image is a map with one row a query, those that look furthest left first, with their
    numbers, and the image's columns from left to right. Queries that were pre-trained with slots
    stand in the order of reading; others have an order of their own.

    Args:
        readings (Sequence[Reading]): At least one.
        columns (int): Images in a row. Defaults to 3.
        fonts (Fonts, optional): Fonts for characters that Matplotlib's own lacks. Defaults to
            None.

    Returns:
        Figure: The picture; save it with ``savefig``. Matplotlib warns of characters that no font
        has.
    """
    texts = "".join(text for reading in readings for text in (reading.truth, reading.prediction))
    with plt.rc_context(
        {"font.family": [*plt.rcParams["font.family"], *font_families(fonts, texts)]}
    ):
        return _draw(readings, columns)


def _draw(readings: Sequence[Reading], columns: int) -> Figure:
    rows = -(-len(readings) // columns)
    figure, axes = plt.subplots(
        2 * rows,
        columns,
        figsize=(3.4 * columns, 3.0 * rows),
        height_ratios=[1, 1.6] * rows,
        squeeze=False,
        layout="constrained",
    )
    for axis in axes.flat:
        axis.axis("off")
    for i, reading in enumerate(readings):
        row, column = divmod(i, columns)
        picture, chart = axes[2 * row, column], axes[2 * row + 1, column]
        height, width = reading.image.shape[:2]
        picture.imshow(reading.image, aspect="auto", extent=(0, width, height, 0))
        colour = "tab:green" if reading.correct else "tab:red"
        picture.set_title(f"{reading.prediction or '(nothing)'}", color=colour, fontsize=11)
        if not reading.correct:
            picture.text(
                2, height - 2, reading.truth, fontsize=8, color="white", backgroundcolor="0.3"
            )
        _draw_map(chart, reading)
    right = sum(reading.correct for reading in readings)
    figure.suptitle(
        f"{right} of {len(readings)} read right (green); below each image: FMU queries (down) over "
        "image columns (across)",
        fontsize=10,
    )
    return figure


def _draw_map(axis: plt.Axes, reading: Reading) -> None:
    """Draw all queries by the column that they look at, summed over the grid's rows."""
    attention = reading.attention.sum(axis=1)
    order = (attention @ np.arange(attention.shape[1])).argsort(kind="stable")
    attention = attention[order] / attention[order].max(axis=1, keepdims=True).clip(min=1e-6)
    axis.axis("on")
    axis.imshow(attention, aspect="auto", cmap="magma", interpolation="nearest", vmin=0, vmax=1)
    axis.set_yticks(range(len(order)), order, fontsize=4)
    axis.set_xticks([])


def _letters(text: str) -> str:
    # Marks belong to letters: without its vowel signs a word of Hindi is another word.
    text = unicodedata.normalize("NFC", text.lower())
    return "".join(c for c in text if unicodedata.category(c)[0] in "LMN")
