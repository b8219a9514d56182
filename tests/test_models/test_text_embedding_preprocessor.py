# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import math
from typing import Any

import numpy as np
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


@pytest.mark.parametrize("off", [-1, 1])
def test_lengths_that_are_not_those_of_the_memories_are_refused(off: int) -> None:
    data = batch(joined=True)
    data["data_samples"][1].set_metainfo({"memory_length": LENGTHS[1] + off})
    with pytest.raises(ValueError, match=f"sums up to {15 + off}, .* have 15 slots"):
        TextEmbeddingPreprocessor()(data)


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


def test_slots_are_mixed_in_training_alone_and_before_filling() -> None:
    preprocess = TextEmbeddingPreprocessor(num_slots=6, mix_slots=True)
    data = batch((4,) * 40)
    for i, x in enumerate(data["data_samples"]):
        x.set_metainfo({"token_ids": np.array([-1, i % 2, 7, i])})
    plain = preprocess(data, training=False)["inputs"]
    mixed = preprocess(data, training=True)["inputs"]
    assert torch.equal(plain, TextEmbeddingPreprocessor(num_slots=6)(data, training=True)["inputs"])
    assert torch.equal(mixed[:, 3], plain[:, 3])  # these tokens have no equal
    for slot, group in ((0, range(40)), (1, range(0, 40, 2)), (1, range(1, 40, 2)), (2, range(40))):
        before, after = plain[list(group), slot], mixed[list(group), slot]
        assert not torch.equal(before, after)
        assert torch.equal(before.sort(dim=0).values, after.sort(dim=0).values)
    assert torch.equal(mixed[:, 3:4].expand(-1, 3, -1), mixed[:, 3:])
    assert torch.equal(preprocess(data)["inputs"], plain)  # the caller's memories stay
