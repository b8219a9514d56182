# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import pytest
from PIL import Image

from mmdptr.rendering import Fonts, WordRenderer, WordSource

TRUETYPE = Path(matplotlib.get_data_path(), "fonts", "ttf")


class Ruler(WordRenderer):
    """Draws nothing but an image as wide as the text is long."""

    def __call__(self, text: str, seed: Sequence[int]) -> Image.Image:
        return Image.new("L", (len(text), 1), seed[0])


@pytest.fixture(scope="module")
def ruler() -> Ruler:
    return Ruler(Fonts([TRUETYPE / "DejaVuSans.ttf"]))


def test_texts_are_words_as_they_are_written_and_codes(ruler: Ruler) -> None:
    source = WordSource(["tree"], ruler, codes=0.5)
    texts = [source([seed])[1] for seed in range(400)]
    codes = [x for x in texts if x.lower() != "tree"]
    assert set(texts) - set(codes) == {"tree", "Tree", "TREE"}
    assert 150 < len(codes) < 250
    assert all(1 <= len(x) <= 8 and x == x.upper() and x.isalnum() for x in codes)
    assert sum(x.isdigit() for x in codes) > len(codes) / 2


def test_capitals_are_drawn_where_a_font_has_them(ruler: Ruler) -> None:
    source = WordSource(["word", "მადლობა"], ruler, codes=0)  # the font lacks Georgian capitals
    texts = {source([seed])[1] for seed in range(60)}
    assert texts == {"word", "Word", "WORD", "მადლობა"}


def test_codes_need_a_font_that_has_them() -> None:
    symbols = Ruler(Fonts([TRUETYPE / "DejaVuSansDisplay.ttf"]))
    with pytest.raises(ValueError, match=r"codes is 0\.08, but none of 1 fonts has all of 0123"):
        WordSource(["∏"], symbols)
    assert WordSource(["∏"], symbols, codes=0)([0])[1] == "∏"


def test_a_seed_is_one_word_and_one_image(ruler: Ruler) -> None:
    source = WordSource(["a", "bb", "ccc"], ruler)
    pairs = [source([7, number]) for number in range(20)]
    again = [source([7, number]) for number in range(20)]
    assert [text for _, text in pairs] == [text for _, text in again]
    assert [image.width for image, _ in pairs] == [len(text) for _, text in pairs]
    with pytest.raises(ValueError, match="no words"):
        WordSource([], ruler)
