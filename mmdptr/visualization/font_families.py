# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Fonts for scripts that Matplotlib's own font lacks."""

import hashlib
import os
from pathlib import Path

import matplotlib
from fontTools.ttLib import TTFont
from matplotlib.font_manager import FontEntry, findfont, fontManager
from matplotlib.ft2font import FT2Font

from mmdptr.rendering import Fonts


def font_families(fonts: Fonts | None, text: str) -> list[str]:
    """Make the fonts that a text needs known to Matplotlib.

    Args:
        fonts (Fonts, optional): Where to find them.
        text (str): All that is to be written.

    Returns:
        list[str]: What Matplotlib calls them, for ``font.family``: as few as will do, plain ones
        (sans) before others and regular weights first. None for what its own font has.
    """
    own = FT2Font(findfont("DejaVu Sans")).get_charmap()
    missing = {character for character in text if ord(character) not in own}
    found = []
    able = {path: x for path, x in (fonts.characters.items() if fonts else ()) if x & missing}
    for path in sorted(able, key=_distance_from_plain):
        if missing & able[path]:
            missing -= able[path]
            # The files of a family that comes in parts have one name in common.
            found.append(str(path))
            fontManager.ttflist.append(FontEntry(fname=str(_unpacked(path)), name=str(path)))
    return found


def _distance_from_plain(font: Path) -> tuple[bool, int]:
    """Order fonts: readings are to be read, which handwriting and display faces do not help."""
    with TTFont(font, fontNumber=0, lazy=True) as content:
        family = content["name"].getBestFamilyName() if "name" in content else None
        weight = abs(content["OS/2"].usWeightClass - 400) if "OS/2" in content else 0
    return "sans" not in (family or "").lower(), weight


def _unpacked(font: Path) -> Path:
    """Return the file itself, or a copy in Matplotlib's cache: it cannot read compressed fonts."""
    if font.suffix.lower() != ".woff":
        return font
    name = hashlib.sha256(font.read_bytes()).hexdigest()
    copy = Path(matplotlib.get_cachedir(), "mmdptr", f"{name}.ttf")
    if not copy.exists():
        copy.parent.mkdir(exist_ok=True)
        partial = copy.with_suffix(f".{os.getpid()}.partial")
        with TTFont(font) as content:
            content.flavor = None
            content.save(partial)
        partial.replace(copy)
    return copy
