# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Fonts that have the characters of a text."""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from fontTools.ttLib import TTFont, TTLibError
from numpy.random import Generator
from PIL import ImageFont

SUFFIXES = (".ttf", ".otf", ".ttc", ".woff")


class Fonts:
    """All fonts of some folders.

    Args:
        folders (Iterable[str or Path]): Folders, searched with their subfolders for ``.ttf``,
            ``.otf``, ``.ttc`` and ``.woff`` files, or single files.

    Raises:
        FileNotFoundError: There is no font.
        OSError: A file is not a font, or broken.
    """

    def __init__(self, folders: Iterable[str | Path]) -> None:
        roots = [Path(folder) for folder in folders]
        found = [path for root in roots for path in ([root] if root.is_file() else root.rglob("*"))]
        paths = sorted(path for path in found if path.suffix.lower() in SUFFIXES)
        if not paths:
            raise FileNotFoundError(
                f"No font in {', '.join(map(str, roots)) or 'no folder'}. Expected "
                f"{', '.join(SUFFIXES)} files."
            )
        self.characters = {path: _characters(path) for path in paths}
        families = {path.parent for path in paths}
        self.families = [[x for x in paths if x.parent == family] for family in sorted(families)]

    def __len__(self) -> int:
        return len(self.characters)

    def can_draw(self, text: str) -> bool:
        """Whether a font has all characters of a text."""
        return any(found.issuperset(text) for found in self.characters.values())

    def count(self, text: str) -> int:
        """Return how many fonts have all characters of a text."""
        return sum(found.issuperset(text) for found in self.characters.values())

    def draw(self, rng: Generator, text: str) -> Path:
        """Draw one of the fonts that have all characters of a text.

        A family, which is a folder, is drawn first: one with many weights does not come up oftener.

        Raises:
            ValueError: No font has them.
        """
        for number in rng.permutation(len(self.families)):
            family = [x for x in self.families[number] if self.characters[x].issuperset(text)]
            if family:
                return family[rng.integers(len(family))]
        rarest = min(set(text), key=lambda x: (self.count(x), x))
        raise ValueError(
            f"None of {len(self)} fonts has all characters of {text!r}; {rarest!r} "
            f"(U+{ord(rarest):04X}) is in {self.count(rarest)} of them. Add a font of that script, "
            "or leave the word out."
        )


@lru_cache(maxsize=512)
def load_font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    """Load a font at a size in pixels."""
    return ImageFont.truetype(path, size)


def _characters(path: Path) -> frozenset[str]:
    try:
        with TTFont(path, fontNumber=0, lazy=True) as font:
            return frozenset(map(chr, font.getBestCmap() or {}))
    except (TTLibError, OSError, AssertionError, KeyError) as error:
        raise OSError(f"{path} is not a font, or broken: {error}. Delete it.") from error
