# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Words drawn as if they had been cut from photographs."""

from .backgrounds import Pictures, draw_background
from .colours import luminance, pick_text_colour, random_colours
from .contact_sheet import contact_sheet
from .distortions import camera_distortions, view_distortions
from .fonts import Fonts
from .word_renderer import WordRenderer
from .word_source import WordSource

__all__ = [
    "Fonts",
    "Pictures",
    "WordRenderer",
    "WordSource",
    "camera_distortions",
    "contact_sheet",
    "draw_background",
    "luminance",
    "pick_text_colour",
    "random_colours",
    "view_distortions",
]
