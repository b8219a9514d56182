# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import math
from typing import Any

import pytest
import torch
from mmocr.registry import MODELS

from mmdptr.models import TextEmbeddingPreprocessor
from tests.builders import nrtr_decoder, sample

LENGTHS = (3, 7, 5)


def batch(lengths: tuple[int, ...] = LENGTHS, joined: bool = False) -> dict[str, Any]:
    torch.manual_seed(0)
    memories = [torch.randn(length, 4) for length in lengths]
    samples = [sample("x", memory_length=length) for length in lengths]
    return {"inputs": torch.cat(memories) if joined else memories, "data_samples": samples}


def test_memories_are_padded_with_zeros() -> None:
    data = batch()
    result = TextEmbeddingPreprocessor()(data)
    assert result["inputs"].shape == (3, 7, 4)
    for memory, row, length in zip(data["inputs"], result["inputs"], LENGTHS, strict=True):
        assert torch.equal(row[:length], memory)
        assert not row[length:].any()
    assert [x.memory_length for x in result["data_samples"]] == list(LENGTHS)


def test_valid_ratio_rounds_up_to_the_length_for_all_lengths() -> None:
    """MMOCR's decoders take ceil(L * valid_ratio) positions, in python and in float32 alike."""
    preprocess = TextEmbeddingPreprocessor()
    wrong = []
    for longest in range(1, 201):
        lengths = range(1, longest + 1)
        data = {
            "inputs": torch.zeros(sum(lengths), 1),
            "data_samples": [sample("x", memory_length=k) for k in lengths],
        }
        for k, done in zip(lengths, preprocess(data)["data_samples"], strict=True):
            ratio = done.valid_ratio
            single = torch.tensor(ratio, dtype=torch.float32) * longest
            if not math.ceil(longest * ratio) == math.ceil(single.item()) == k:
                wrong.append((k, longest))
            assert 0 < ratio <= 1
    assert wrong == []


def test_mmocrs_decoder_masks_exactly_the_padding() -> None:
    done = TextEmbeddingPreprocessor()(batch())
    ratios = [x.valid_ratio for x in done["data_samples"]]
    mask = MODELS.build(nrtr_decoder())._get_source_mask(done["inputs"], ratios)
    assert mask.sum(dim=1).tolist() == list(LENGTHS)
    assert (mask[:, 1:] <= mask[:, :-1]).all()


@pytest.mark.parametrize("num_slots", [None, 6, 10])
def test_concatenated_memories_give_the_same(num_slots: int | None) -> None:
    preprocess = TextEmbeddingPreprocessor(num_slots)
    one, other = preprocess(batch()), preprocess(batch(joined=True))
    assert torch.equal(one["inputs"], other["inputs"])
    for x, y in zip(one["data_samples"], other["data_samples"], strict=True):
        assert (x.valid_ratio, x.memory_length) == (y.valid_ratio, y.memory_length)


def test_num_slots_repeats_the_last_token_as_valid() -> None:
    data = batch()
    result = TextEmbeddingPreprocessor(num_slots=6)(data)
    assert result["inputs"].shape == (3, 7, 4)  # a longer memory stays as it is
    for memory, row, filled in zip(data["inputs"], result["inputs"], (6, 7, 6), strict=True):
        assert torch.equal(row[: len(memory)], memory)
        assert (row[len(memory) : filled] == memory[-1]).all()
        assert not row[filled:].any()
    assert [x.memory_length for x in result["data_samples"]] == [6, 7, 6]
    assert [math.ceil(7 * x.valid_ratio) for x in result["data_samples"]] == [6, 7, 6]


def test_caller_keeps_its_data() -> None:
    data = batch(joined=True)
    preprocess = TextEmbeddingPreprocessor(num_slots=9)
    first, second = preprocess(data)["inputs"], preprocess(data)["inputs"]
    assert torch.equal(first, second)
    assert [x.memory_length for x in data["data_samples"]] == list(LENGTHS)
    assert "valid_ratio" not in data["data_samples"][0]
