# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from mmdptr.rendering import Fonts, WordRenderer, WordSource, read_pictures

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


@pytest.mark.parametrize("word", ["საქართველო", "ŉ"])  # capitals: the font has none, two letters
def test_capitals_are_drawn_where_a_font_has_them(ruler: Ruler, word: str) -> None:
    texts = {WordSource([word], ruler, codes=0)([seed])[1] for seed in range(40)}
    assert word in texts
    assert all(ruler.fonts.can_draw(text) for text in texts)
    assert {"WORD", "Word"} < {WordSource(["word"], ruler, codes=0)([i])[1] for i in range(40)}


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


def test_pictures_are_the_middle_squares_of_photographs(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"No \.jpg, \.jpeg, \.png"):
        read_pictures(tmp_path)
    pixels = np.zeros((100, 300, 3), dtype=np.uint8)
    pixels[:, 100:200] = 255
    (tmp_path / "of a day").mkdir()
    Image.fromarray(pixels).save(tmp_path / "of a day" / "1.png")
    (picture,) = read_pictures(tmp_path)
    assert (picture.size, picture.mode) == ((240, 240), "RGB")
    assert np.asarray(picture)[:, 4:-4].min() > 250
