# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
from typing import Any
from unittest.mock import patch

import pytest
import torch
from mmocr.models.textrecog.decoders import MasterDecoder
from mmocr.models.textrecog.decoders.base import BaseDecoder

from mmdptr.models import find_memory_layout
from tests.builders import MAX_SEQ_LEN, WIDTH, dictionary, sample
from tests.test_models.test_cached_nrtr_decoder import (
    NO_END,
    SKIPPED_END,
    TWO_TOKENS,
    assert_same,
    end_stops,
    random_memory,
    read,
    read_padding,
    same_weights,
    steps_of,
)

DECODERS = [
    {},
    {"n_layers": 3},
    {"n_layers": 3, "n_head": 2},
    {"n_layers": 3, "dictionary": TWO_TOKENS, "end": 1.0},
    {"n_layers": 3, "dictionary": NO_END},
    {"n_layers": 3, "postprocessor": SKIPPED_END},
]


def config(decoder_type: str, **changes: Any) -> dict[str, Any]:
    return {
        "type": decoder_type,
        "n_layers": 1,
        "n_head": 4,
        "d_model": WIDTH,
        "d_inner": 2 * WIDTH,
        "feat_size": 12,
        "feat_pe_drop": 0.0,
        "max_seq_len": MAX_SEQ_LEN,
        "dictionary": dictionary(),
        "module_loss": {"type": "CEModuleLoss", "ignore_first_char": True},
        "postprocessor": {"type": "AttentionPostprocessor"},
        **changes,
    }


def pair(*, end: float = 5.0, padding: float = -9.0, **changes: Any) -> list[BaseDecoder]:
    configs = [config(x, **changes) for x in ("CachedMasterDecoder", "MasterDecoder")]
    decoders = same_weights(*configs, end=end, padding=padding)
    for decoder in decoders:  # in the tiny decoder, they would drown the memory
        decoder.embedding.lut.weight.data /= 16
    return decoders


@pytest.mark.parametrize("changes", DECODERS)
@pytest.mark.parametrize("number", [1, 16])
def test_it_reads_what_mmocr_reads(changes: dict[str, Any], number: int) -> None:
    decoders = pair(**changes)
    _, ends = assert_same(decoders, random_memory(number))
    assert steps_of(decoders[0], random_memory(number)) == max(ends)
    if number > 1 and end_stops(decoders[0]):
        assert len(set(ends)) > 3  # words of several lengths


@pytest.mark.parametrize("changes", DECODERS)
def test_samples_with_padding_in_the_middle_are_left_to_mmocr(changes: dict[str, Any]) -> None:
    decoders = pair(**changes, padding=2.0)
    with patch.object(
        MasterDecoder, "forward_test", autospec=True, side_effect=MasterDecoder.forward_test
    ) as mmocrs:
        tokens, ends = assert_same(decoders, random_memory())
    padded = read_padding(decoders[0], tokens, ends)
    assert 0 < len(padded) < 16
    assert mmocrs.call_args_list[0].args[0] is decoders[0]
    assert mmocrs.call_args_list[0].args[1].equal(random_memory()[padded])


def test_it_hands_over_at_the_first_padding() -> None:
    decoders = pair(padding=99.0)
    assert_same(decoders, random_memory())
    assert steps_of(decoders[0], random_memory()) == 1 + MAX_SEQ_LEN


def test_it_reads_feature_maps_with_their_positions() -> None:
    decoders = pair(n_layers=3)
    tokens, _ = assert_same(decoders, random_memory(slots=12).mT.unflatten(-1, (3, 4)))
    rows, _ = assert_same(decoders, random_memory(slots=12))
    assert tokens.equal(rows)
    turned, _ = assert_same(decoders, random_memory(slots=12).flip(1))
    assert (tokens != turned).any(dim=1).sum() > 4
    with pytest.raises(ValueError, match="`feat` is None"):
        decoders[0](None, random_memory())


def test_it_stops_when_all_have_ended() -> None:
    decoders, memory = pair(n_layers=3, end=6.0), random_memory()
    _, ends = assert_same(decoders, memory)
    steps = steps_of(decoders[0], memory)
    assert steps == max(ends) < MAX_SEQ_LEN
    assert len(set(ends)) > 3
    rest = read(decoders[0], memory)[0][:, steps:]
    assert (rest[..., decoders[0].PAD] == 1).all()
    assert (rest.sum(dim=-1) == 1).all()


@pytest.mark.parametrize("padding", [-9.0, 2.0])
def test_it_reads_the_same_under_autocast(padding: float) -> None:
    ours, theirs = pair(n_layers=3, padding=padding)
    expected, _ = read(theirs, random_memory())
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = read(ours, random_memory())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found[:, 0], expected[:, 0], atol=0.03, rtol=0)
    assert (found.argmax(dim=-1) == expected.argmax(dim=-1)).float().mean() > 0.9


def test_weights_and_training_are_mmocrs() -> None:
    ours, theirs = pair(n_layers=3)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    losses = []
    for decoder in (ours, theirs):
        samples = [sample("dog"), sample("c4ts")]
        losses.append(decoder.train().loss(random_memory(2), None, samples)["loss_ce"])
    assert losses[0].sum() > 0
    assert losses[0].equal(losses[1])


def test_its_memory_is_that_of_master() -> None:
    layout = find_memory_layout(config("MasterDecoder"))
    assert find_memory_layout(config("CachedMasterDecoder")) == layout
