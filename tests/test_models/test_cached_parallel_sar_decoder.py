# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
from typing import Any
from unittest.mock import patch

import pytest
import torch
from mmocr.models.textrecog.decoders import ParallelSARDecoder
from mmocr.models.textrecog.decoders.base import BaseDecoder
from mmocr.registry import MODELS
from torch import Tensor

from mmdptr.models import find_memory_layout
from tests.builders import MAX_SEQ_LEN, dictionary, sample

CHANNELS, HOLISTIC = 12, 8
DECODERS: list[dict[str, Any]] = [
    {},
    {"pred_concat": True},
    {"dec_gru": True},
    {"enc_bi_rnn": True, "pred_concat": True},
    {"mask": False},
    {"dec_rnn_dropout": 0.5, "pred_dropout": 0.5},
]


def config(decoder_type: str, **changes: Any) -> dict[str, Any]:
    tokens = {"with_start": True, "with_end": True, "with_padding": True, "with_unknown": True}
    return {
        "type": decoder_type,
        "d_model": CHANNELS,
        "d_enc": HOLISTIC,
        "d_k": 6,
        "max_seq_len": MAX_SEQ_LEN,
        "dictionary": dictionary(same_start_end=True, **tokens),
        "module_loss": {"type": "CEModuleLoss", "ignore_first_char": True},
        "postprocessor": {"type": "AttentionPostprocessor"},
        **changes,
    }


def pair(end: float = 3.0, **changes: Any) -> list[BaseDecoder]:
    """Ours and MMOCR's, with random weights that read words of several lengths."""
    torch.manual_seed(0)
    names = ("CachedParallelSARDecoder", "ParallelSARDecoder")
    ours, theirs = (MODELS.build(config(name, **changes)).eval() for name in names)
    for parameter in theirs.parameters():
        parameter.data.normal_(std=1.5)
    theirs.prediction.bias.data[theirs.dictionary.end_idx] += end
    theirs.prediction.bias.data[theirs.dictionary.unknown_idx] = -99  # is written as five letters
    ours.load_state_dict(theirs.state_dict())
    return [ours, theirs]


def features(number: int = 24, width: int = HOLISTIC) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(number, CHANNELS, 3, 7, generator=generator),
        torch.randn(number, width, generator=generator),
    )


@torch.inference_mode()
def read(
    decoder: BaseDecoder, inputs: tuple[Tensor, Tensor], ratios: list[float] | None = None
) -> tuple[Tensor, list[str]]:
    samples = [sample("", valid_ratio=x) for x in ratios or [1.0] * len(inputs[0])]
    probabilities = decoder(*inputs, samples)
    return probabilities, [x.pred_text.item for x in decoder.postprocessor(probabilities, samples)]


def assert_same(
    decoders: list[BaseDecoder], inputs: tuple[Tensor, Tensor], ratios: list[float] | None = None
) -> list[str]:
    (found, texts), (expected, expected_texts) = (read(x, inputs, ratios) for x in decoders)
    assert found.shape == expected.shape
    assert texts == expected_texts
    for text, ours, theirs in zip(texts, found, expected, strict=True):
        steps = len(text) + 1  # its end, too
        torch.testing.assert_close(ours[:steps], theirs[:steps], atol=1e-5, rtol=0)
    return texts


@pytest.mark.parametrize("changes", DECODERS, ids=str)
def test_it_reads_what_mmocr_reads(changes: dict[str, Any]) -> None:
    inputs = features(width=2 * HOLISTIC if changes.get("enc_bi_rnn") else HOLISTIC)
    texts = assert_same(pair(**changes), inputs)
    assert len({len(text) for text in texts}) > 1
    assert len(set(texts)) > 8


def test_padded_columns_are_masked_as_by_mmocr() -> None:
    decoders, ratios = pair(), [0.3, 0.5, 1.0, 0.01] * 6
    texts = assert_same(decoders, features(), ratios)
    assert texts != assert_same(decoders, features())
    assert texts != assert_same(pair(mask=False), features(), ratios)


def test_it_reads_without_data_samples() -> None:
    (found, expected) = (decoder(*features(), None) for decoder in pair(end=-99.0))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_it_stops_when_all_have_ended() -> None:
    ours, _ = pair(end=25.0)
    probabilities, texts = read(ours, features())
    steps = max(map(len, texts)) + 1
    assert steps < MAX_SEQ_LEN
    assert (probabilities[:, steps:, ours.dictionary.padding_idx] == 1).all()
    with patch.object(ours.prediction, "forward", wraps=ours.prediction.forward) as prediction:
        read(ours, features())
    assert prediction.call_count == steps


def test_a_bidirectional_lstm_is_left_to_mmocr() -> None:
    decoders = pair(dec_bi_rnn=True)
    with patch.object(
        ParallelSARDecoder, "forward_test", autospec=True, return_value=torch.zeros(1)
    ) as mmocrs:
        decoders[0](*features(), None)
    assert mmocrs.call_count == 1


@pytest.mark.usefixtures("lstms_on_any_cpu")
def test_it_reads_under_autocast() -> None:
    ours, theirs = pair()
    expected, _ = read(theirs, features())
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = read(ours, features())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found[:, 0], expected[:, 0], atol=0.05, rtol=0)


def test_weights_and_training_are_mmocrs() -> None:
    ours, theirs = pair()
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    samples = [sample("dog"), sample("c4ts")]
    losses = [x.train().loss(*features(2), samples)["loss_ce"] for x in (ours, theirs)]
    assert losses[0].sum() > 0
    assert losses[0].equal(losses[1])


def test_its_memory_is_that_of_sar() -> None:
    layout = find_memory_layout(config("ParallelSARDecoder"))
    assert find_memory_layout(config("CachedParallelSARDecoder")) == layout
