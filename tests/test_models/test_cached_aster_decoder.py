# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
import torch
from mmocr.models.textrecog.decoders.base import BaseDecoder
from mmocr.registry import MODELS
from torch import Tensor

from mmdptr.models import find_memory_layout
from tests.builders import MAX_SEQ_LEN, WIDTH, dictionary, sample

TEXTS = ["dog", "c4ts", "x"]
DICTIONARY = dictionary()


@pytest.fixture
def _double_precision() -> Iterator[None]:
    """Rounding grows from step to step; MMOCR's first state has the default type."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def config(
    decoder_type: str, dictionary: dict[str, Any] = DICTIONARY, **loss: Any
) -> dict[str, Any]:
    return {
        "type": decoder_type,
        "in_channels": WIDTH,
        "emb_dims": 10,
        "attn_dims": 10,
        "hidden_size": 14,
        "max_seq_len": MAX_SEQ_LEN,
        "dictionary": dictionary,
        "module_loss": {"type": "CEModuleLoss", "ignore_first_char": True, **loss},
        "postprocessor": {"type": "AttentionPostprocessor"},
    }


def pair(end: float = 2.0, **changes: Any) -> list[BaseDecoder]:
    """Ours and MMOCR's, with random weights that read words of several lengths."""
    torch.manual_seed(0)
    names = ("CachedASTERDecoder", "ASTERDecoder")
    ours, theirs = (MODELS.build(config(name, **changes)) for name in names)
    for parameter in theirs.parameters():
        parameter.data.normal_(std=1.0)
    theirs.fc.bias.data[theirs.dictionary.end_idx] += end
    if theirs.dictionary.unknown_idx is not None:
        theirs.fc.bias.data[theirs.dictionary.unknown_idx] = -99  # is written as five letters
    ours.load_state_dict(theirs.state_dict())
    return [ours, theirs]


def memory(number: int = 24) -> Tensor:
    return torch.randn(number, 9, WIDTH, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def read(decoder: BaseDecoder) -> tuple[Tensor, list[str]]:
    samples = [sample("") for _ in memory()]
    probabilities = decoder.eval()(None, memory(), samples)
    return probabilities, [x.pred_text.item for x in decoder.postprocessor(probabilities, samples)]


@pytest.mark.usefixtures("_double_precision")
def test_it_reads_what_mmocr_reads() -> None:
    (found, texts), (expected, expected_texts) = (read(x) for x in pair())
    assert texts == expected_texts
    assert len({len(text) for text in texts}) > 1
    assert found.shape == expected.shape
    for text, ours, theirs in zip(texts, found, expected, strict=True):
        steps = len(text) + 1  # its end, too
        torch.testing.assert_close(ours[:steps], theirs[:steps].float())


@pytest.mark.usefixtures("_double_precision")
def test_it_reads_with_a_dictionary_without_padding() -> None:
    """As MMOCR's is unless told otherwise."""
    tokens = {"with_start": True, "with_end": True, "same_start_end": True}
    ours, theirs = pair(dictionary=dictionary(**tokens))
    assert ours.dictionary.padding_idx is None
    probabilities, texts = read(ours)
    assert len({len(text) for text in texts}) > 1
    assert texts == read(theirs)[1]
    assert probabilities.shape[1] == MAX_SEQ_LEN


def test_it_stops_when_all_have_ended() -> None:
    ours, _ = pair(end=25.0)
    probabilities, texts = read(ours)
    steps = max(map(len, texts)) + 1
    assert steps < MAX_SEQ_LEN
    assert (probabilities[:, steps:, ours.dictionary.padding_idx] == 1).all()
    with patch.object(ours.gru, "forward", wraps=ours.gru.forward) as gru:
        read(ours)
    assert gru.call_count == steps


@pytest.mark.usefixtures("_double_precision")
@pytest.mark.parametrize(
    "loss",
    [
        {},
        {"flatten": True},
        {"reduction": "mean"},
        {"ignore_first_char": False},
        {"ignore_char": "none"},  # padding counts: all steps have to be taken
    ],
    ids=str,
)
def test_it_learns_what_mmocr_learns(loss: dict[str, Any]) -> None:
    losses, gradients = [], []
    for decoder in pair(**loss):
        given = memory(len(TEXTS)).requires_grad_()
        losses.append(decoder.train().loss(None, given, [sample(x) for x in TEXTS])["loss_ce"])
        gradients.append(torch.autograd.grad(losses[-1].mean(), [given, *decoder.parameters()]))
    torch.testing.assert_close(*losses)
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two)


def test_steps_end_with_the_longest_target() -> None:
    ours, _ = pair()
    with patch.object(ours.gru, "forward", wraps=ours.gru.forward) as gru:
        ours.train().loss(None, memory(len(TEXTS)), [sample(x) for x in TEXTS])
    # Start, characters and end, of which the last one has nothing to predict.
    assert gru.call_count <= max(map(len, TEXTS)) + 2 < MAX_SEQ_LEN


def test_it_reads_under_autocast() -> None:
    ours, theirs = pair()
    expected, _ = read(theirs)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = read(ours)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found[:, 0], expected[:, 0], atol=0.05, rtol=0)


def test_weights_and_memory_are_those_of_aster() -> None:
    ours, theirs = pair()
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    layouts = [find_memory_layout(config(x)) for x in ("CachedASTERDecoder", "ASTERDecoder")]
    assert layouts[0] == layouts[1]
