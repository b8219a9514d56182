# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Colours of letters on backgrounds."""

import numpy as np
from numpy.random import Generator


def random_colours(rng: Generator, count: int) -> np.ndarray:
    """Draw colours, from greyish to vivid: paint on signs is seldom as vivid as uniform RGB.

    Args:
        rng (Generator): Source of randomness.
        count (int): Number of colours.

    Returns:
        np.ndarray: RGB values 0..255 of shape (count, 3).
    """
    vivid = rng.uniform(0, 255, (count, 3))
    grey = vivid.mean(axis=1, keepdims=True)
    return grey + rng.uniform(0.1, 1, (count, 1)) * (vivid - grey)


def luminance(colour: np.ndarray) -> np.ndarray:
    """Relative luminance of sRGB colours, as WCAG 2 defines it.

    Args:
        colour (np.ndarray): Colours 0..255 of shape (..., 3).

    Returns:
        np.ndarray: Luminance 0..1 of shape (...).
    """
    value = np.asarray(colour, dtype=np.float64) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722])


def pick_text_colour(rng: Generator, background: np.ndarray, contrast: float) -> np.ndarray:
    """Pick a colour that can be read on the darkest and on the brightest part of a background.

    Args:
        rng (Generator): Source of randomness.
        background (np.ndarray): RGB background of shape (H, W, 3).
        contrast (float): Contrast ratio to reach, 1 to 21.

    Returns:
        np.ndarray: The first of some random colours that reaches the ratio, or else black or
        white, whichever stands out more.
    """
    sample = luminance(background[::4, ::4].reshape(-1, 3))
    extremes = np.percentile(sample, (5, 95)) + 0.05
    candidates = np.concatenate([random_colours(rng, 40), [[0, 0, 0], [255, 255, 255]]])
    ratio = (luminance(candidates)[:, None] + 0.05) / extremes
    worst = np.maximum(ratio, 1 / ratio).min(axis=1)
    enough = np.flatnonzero(worst[:40] >= contrast)
    return candidates[enough[0] if len(enough) else 40 + int(worst[40:].argmax())]
