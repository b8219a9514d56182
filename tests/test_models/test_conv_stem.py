# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from mmocr.registry import MODELS

from mmdptr.models.position import sine_positions


def test_default_makes_one_row_of_quarter_columns() -> None:
    stem = MODELS.build({"type": "ConvStem"})
    assert stem(torch.randn(2, 3, 32, 100)).shape == (2, 128, 1, 25)


def test_channels_and_strides_are_free() -> None:
    stem = MODELS.build(
        {"type": "ConvStem", "channels": [4, 6], "strides": [(2, 1), (4, 2)], "in_channels": 1}
    )
    assert stem(torch.randn(2, 1, 32, 100)).shape == (2, 6, 4, 50)
    assert sum(p.numel() for p in stem.parameters()) == 9 * 4 + 2 * 4 + 9 * 4 * 6 + 2 * 6


def test_a_feature_sees_its_neighbourhood_only() -> None:
    stem = MODELS.build({"type": "ConvStem"}).eval()
    image = torch.randn(1, 3, 32, 128)
    changed = image.clone()
    changed[..., :8] = 0
    difference = (stem(image) - stem(changed)).abs().amax(dim=(0, 1, 2))
    assert difference[0] > 0
    assert not difference[10:].any()


def test_positions_are_added_to_what_comes_out() -> None:
    plain, seeing = (
        MODELS.build({"type": "ConvStem", "strides": [(2, 2)] * 5, "with_position": x}).eval()
        for x in (False, True)
    )
    seeing.load_state_dict(plain.state_dict())
    images = torch.randn(2, 3, 64, 128)
    added = (seeing(images) - plain(images)).flatten(2).mT
    torch.testing.assert_close(added, sine_positions(2, 4, 128).expand(2, -1, -1))


def test_strides_must_match_channels() -> None:
    with pytest.raises(ValueError, match="3 channels and 5 strides"):
        MODELS.build({"type": "ConvStem", "channels": [4, 8, 16]})
