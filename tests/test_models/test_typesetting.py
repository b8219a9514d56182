# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from mmdptr.models.data_preprocessors.typesetting import blur, log_uniform, typeset


def test_regular_characters_stand_where_arithmetic_says() -> None:
    # Two characters and half the widest gap are 2.15 wide, half the widest margins 4 % of that.
    pitch = 8 / (2.15 * 1.08)
    left = 2.15 * 0.04 * pitch
    (cover,), ratios = typeset(torch.tensor([2]), (1, 8), irregular=False)
    assert ratios == 1
    first, second = cover.T
    expected = torch.zeros(8)
    expected[0], expected[1:3], expected[3] = 1 - left, 1.0, left + pitch - 3
    torch.testing.assert_close(first, expected)
    torch.testing.assert_close(second, expected.flip(0))


@pytest.mark.parametrize("shape", [(1, 32), (4, 16), (8, 32)])
@pytest.mark.parametrize("irregular", [False, True])
def test_cells_are_covered_once_and_in_order(shape: tuple[int, int], irregular: bool) -> None:
    torch.manual_seed(0)
    lengths = torch.tensor([1, 3, 10, 7, 2] * 20)
    cover, ratios = typeset(lengths, shape, irregular)
    assert (ratios == 1).all()
    assert cover.shape == (100, shape[0] * shape[1], 10)
    assert cover.min() >= 0
    assert cover.sum(dim=2).max() <= 1 + 1e-5
    columns = torch.arange(shape[1]).repeat(shape[0])
    for word, length in zip(cover, lengths.tolist(), strict=True):
        assert not word[:, length:].any()
        area = word[:, :length].sum(dim=0)
        assert area.min() > 0
        centres = (columns[:, None] * word[:, :length]).sum(dim=0) / area
        assert (centres.diff() > 0).all()
    # The last character of every word ends near the right edge.
    ink = cover.sum(dim=2).unflatten(1, shape).amax(dim=1)
    assert (ink[:, -max(2, shape[1] // 8) :].amax(dim=1) > 0).all()


def test_strokes_stand_one_below_another() -> None:
    # Half the headroom is half a row of four; the three rows between are for four strokes.
    (cover,), _ = typeset(torch.tensor([2]), (4, 8), irregular=False, strokes=4)
    (whole,), _ = typeset(torch.tensor([2]), (1, 8), irregular=False)
    rows = torch.tensor([[0.5, 0, 0, 0], [0.25, 0.75, 0, 0], [0, 0, 0.75, 0.25], [0, 0, 0, 0.5]])
    expected = torch.einsum("hs,wl->hwls", rows, whole)
    torch.testing.assert_close(cover, expected.reshape(32, 8))


def test_strokes_make_up_the_character() -> None:
    lengths = torch.tensor([3, 7, 1])
    torch.manual_seed(0)
    parts, _ = typeset(lengths, (4, 16), strokes=3)
    torch.manual_seed(0)
    whole, _ = typeset(lengths, (4, 16))
    torch.testing.assert_close(parts.unflatten(2, (7, 3)).sum(dim=3), whole)


def test_irregular_words_differ_and_regular_ones_do_not() -> None:
    lengths = torch.tensor([4, 4])
    one, other = typeset(lengths, (2, 16))[0]
    assert not torch.allclose(one, other)
    one, other = typeset(lengths, (2, 16), irregular=False)[0]
    torch.testing.assert_close(one, other)


def test_words_of_padded_images_are_as_wide_as_their_characters() -> None:
    lengths = torch.tensor([1, 4, 8, 40])
    cover, ratios = typeset(lengths, (1, 32), irregular=False, character_width=3.0)
    # Gaps are half the widest, and so are margins: 4 % of the text on each side.
    text = (lengths * 1.15 - 0.15) * 3 / 1.23 * 1.08
    torch.testing.assert_close(ratios[:3], text[:3] / 32)
    assert ratios[3] == 1  # too long: as narrow as it has to be
    padding = torch.arange(32) >= (ratios * 32).ceil()[:, None]
    assert not cover[padding].any()
    torch.manual_seed(0)
    several = typeset(torch.full((2000,), 4), (1, 64), character_width=3.0)[1] * 64
    assert several.mean().item() == pytest.approx(12, rel=0.1)
    assert several.std().item() > 2


def test_blur_smears_columns_and_keeps_rows_apart() -> None:
    maps = torch.zeros(2, 2 * 32, 1)
    maps[:, 16] = 1.0  # row 0, column 16
    narrow, wide = blur(maps, (2, 32), torch.tensor([0.1, 3.0])).unflatten(1, (2, 32))
    torch.testing.assert_close(narrow[0], maps[0, :32])
    assert not narrow[1].any()
    assert not wide[1].any()
    columns = torch.arange(32.0)
    weights = wide[0, :, 0]
    centre = (columns * weights).sum() / weights.sum()
    spread = ((columns - centre).square() * weights).sum() / weights.sum()
    assert centre.item() == pytest.approx(16, abs=0.1)
    assert spread.sqrt().item() == pytest.approx(3, rel=0.05)
    even = torch.full((1, 64, 3), 0.7)
    torch.testing.assert_close(blur(even, (2, 32), torch.tensor([5.0])), even)


def test_all_scales_are_alike() -> None:
    torch.manual_seed(0)
    drawn = log_uniform(20_000, 30.0, torch.device("cpu"))
    assert drawn.min() >= 0.3
    assert drawn.max() <= 30
    assert (drawn < 3).float().mean().item() == pytest.approx(0.5, abs=0.02)
