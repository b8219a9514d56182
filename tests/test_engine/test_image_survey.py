# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from mmocr.registry import MODELS
from torch.utils.data import Dataset

from mmdptr.engine.image_survey import survey_images
from tests.builders import WIDTH, nrtr, sample


class Crops(Dataset):
    """Images, 32 pixels high, augmented at random, with their labels and valid parts."""

    def __init__(self, *crops: tuple[str, float], widths: Sequence[int] = ()) -> None:
        self.crops = crops
        self.widths = widths or [64] * len(crops)

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, index: int) -> dict[str, Any]:
        text, ratio = self.crops[index]
        chance = np.random.rand() + random.random() + torch.rand(1).item()
        ratio = min(1.0, ratio * (1 + 0.06 * chance))
        shape = (32, self.widths[index])
        data_sample = sample(text, valid_ratio=ratio, img_shape=shape)
        return {"inputs": torch.randint(255, (3, *shape)), "data_samples": data_sample}


def model(**changes: Any) -> torch.nn.Module:
    return MODELS.build(nrtr(neck={"type": "FMU"}, **changes)).train()


def test_images_that_fill_the_width_have_no_width_of_characters() -> None:
    recognizer = model()
    found = survey_images(recognizer, Crops(("dog", 1.0), ("a", 1.0)))
    assert found == {"feature_shape": [WIDTH, 1, 16], "character_width": None}
    assert recognizer.training


def test_padded_images_tell_the_width_of_characters() -> None:
    # Columns a character: 16 * 0.5 / 4, 16 * 0.75 / 4, 16 * 0.25 / 1, and some more at random.
    crops = Crops(("dogs", 0.5), ("wood", 0.75), ("a", 0.25), ("full", 1.0), ("", 0.5))
    found = survey_images(model(), crops)
    assert 3 <= found["character_width"] <= 3.6


def test_images_that_batches_pad_are_surveyed_as_wide_as_the_widest() -> None:
    crops = Crops(("ab", 1.0), ("abcdefgh", 1.0), ("abcd", 1.0), widths=(32, 128, 64))
    found = survey_images(model(), crops)
    assert found == {"feature_shape": [WIDTH, 1, 32], "character_width": 4.0}


def test_it_is_the_same_each_time_and_draws_no_numbers() -> None:
    crops = Crops(("dogs", 0.5), ("wood", 0.75))
    recognizer, found = model(), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        expected = torch.Generator().manual_seed(seed)
        found.append(survey_images(recognizer, crops))
        assert torch.rand(1) == torch.rand(1, generator=expected)
    assert found[0] == found[1]


def test_only_what_has_an_fmu_is_surveyed() -> None:
    with pytest.raises(ValueError, match="for a DPTRRecognizer or CLIP4STR, found NRTR"):
        survey_images(MODELS.build(nrtr("NRTR")), Crops(("dog", 1.0)))
