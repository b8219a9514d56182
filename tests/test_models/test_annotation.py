# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import numpy as np
import torch
from mmocr.structures import TextRecogDataSample

from mmdptr.models.annotation import annotate
from tests.builders import sample


def test_a_copy_has_what_the_sample_has_and_more() -> None:
    own = sample("dog", memory_length=5, token_ids=np.arange(5))
    copy = annotate(own, memory_length=9, valid_ratio=0.5)
    assert copy.gt_text.item == "dog"
    assert (copy.memory_length, copy.valid_ratio) == (9, 0.5)
    assert sorted(copy.metainfo_keys()) == ["memory_length", "token_ids", "valid_ratio"]
    assert copy.token_ids is own.token_ids  # nothing is copied deeply


def test_data_of_others_go_along() -> None:
    own = sample("dog")
    own.weight = torch.ones(2)
    assert annotate(own).weight is own.weight


def test_a_sample_without_label_has_none_in_its_copy() -> None:
    copy = annotate(TextRecogDataSample(metainfo={"img_shape": (32, 128)}), valid_ratio=1.0)
    assert "gt_text" not in copy
    assert copy.img_shape == (32, 128)


def test_the_sample_stays_as_it_is() -> None:
    own = sample("dog", memory_length=5)
    copy = annotate(own, memory_length=9, valid_ratio=0.5)
    copy.gt_text.indexes = [1, 2, 3]
    assert own.memory_length == 5
    assert "valid_ratio" not in own
    assert "indexes" not in own.gt_text
