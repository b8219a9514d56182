# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Also what the tests of both cached decoders share: comparing one with MMOCR's own."""

from typing import Any

import pytest
import torch
from mmocr.models.textrecog.decoders.base import BaseDecoder
from mmocr.registry import MODELS
from torch import Tensor, nn

from mmdptr.models import find_memory_layout
from mmdptr.models.decoders.greedy_decoding import KeyValueCache
from tests.builders import MAX_SEQ_LEN, WIDTH, dictionary, nrtr_decoder, sample

Ratios = list[float | None]

TWO_TOKENS = dictionary(with_start=True, with_end=True, with_padding=True, with_unknown=True)
NO_END = dictionary(with_start=True, with_padding=True, with_unknown=True)
SKIPPED_END = {"type": "AttentionPostprocessor", "ignore_chars": ["padding", "end"]}
DECODERS = [
    {},
    {"n_layers": 3},
    {"n_layers": 3, "n_head": 2, "d_k": WIDTH // 2, "d_v": WIDTH // 2},
    {"n_layers": 3, "dictionary": TWO_TOKENS},
    {"n_layers": 3, "dictionary": NO_END},
    {"n_layers": 3, "postprocessor": SKIPPED_END},
]


def same_weights(*configs: dict[str, Any], end: float, padding: float) -> list[BaseDecoder]:
    """Build decoders with the same weights, and biases for the end and the padding token.

    Weights are large, so that what is read depends on the memory and no character on a rounding.
    """
    torch.manual_seed(0)
    decoders = [MODELS.build(config).eval() for config in configs]
    for parameter in decoders[0].parameters():
        if parameter.dim() == 2:
            parameter.data *= 3
    tokens = decoders[0].dictionary
    classifier(decoders[0]).bias.data[tokens.padding_idx] += padding
    if tokens.end_idx is not None:
        classifier(decoders[0]).bias.data[tokens.end_idx] += end
    for decoder in decoders[1:]:
        decoder.load_state_dict(decoders[0].state_dict())
    return decoders


def classifier(decoder: BaseDecoder) -> nn.Linear:
    (found,) = (x for x in decoder.children() if isinstance(x, nn.Linear))
    return found


def random_memory(number: int = 16, slots: int = 10) -> Tensor:
    return torch.randn(number, slots, WIDTH, generator=torch.Generator().manual_seed(2))


def read(
    decoder: BaseDecoder, memory: Tensor, ratios: Ratios | None = None
) -> tuple[Tensor, list[tuple[str, list[float]]]]:
    """Return probabilities, and texts with their scores; a ratio of None is left out."""
    ratios = ratios or [1.0] * len(memory)
    samples = [sample("", **({} if x is None else {"valid_ratio": x})) for x in ratios]
    with torch.no_grad():
        probabilities = decoder(memory, memory, samples)
    texts = [x.pred_text for x in decoder.postprocessor(probabilities, samples)]
    return probabilities, [(text.item, text.score) for text in texts]


def assert_same(
    decoders: list[BaseDecoder], memory: Tensor, ratios: Ratios | None = None
) -> tuple[Tensor, list[int]]:
    """Compare ours with MMOCR's.

    Returns:
        tuple[Tensor, list[int]]: What MMOCR reads, of shape (N, T), and how many steps there are to
        each sample's end, with it; all if it has none.
    """
    (found, texts), (expected, expected_texts) = (read(x, memory, ratios) for x in decoders)
    assert found.shape == expected.shape
    for (text, scores), (expected_text, expected_scores) in zip(texts, expected_texts, strict=True):
        assert text == expected_text
        assert scores == pytest.approx(expected_scores, abs=1e-5)
    tokens = expected.argmax(dim=-1)
    is_end = (tokens == decoders[1].dictionary.end_idx).tolist() if end_stops(decoders[1]) else []
    ends = [1 + row.index(True) if True in row else len(row) for row in is_end]
    ends = ends or [MAX_SEQ_LEN] * len(memory)
    for i, end in enumerate(ends):
        torch.testing.assert_close(found[i, :end], expected[i, :end], atol=1e-5, rtol=0)
    return tokens, ends


def end_stops(decoder: BaseDecoder) -> bool:
    end = decoder.dictionary.end_idx
    return end is not None and end not in decoder.postprocessor.ignore_indexes


def read_padding(decoder: BaseDecoder, tokens: Tensor, ends: list[int]) -> list[int]:
    """Return the samples where padding is read before the end."""
    is_padding = (tokens == decoder.dictionary.padding_idx).tolist()
    return [i for i, end in enumerate(ends) if any(is_padding[i][:end])]


def steps_of(decoder: BaseDecoder, memory: Tensor) -> int:
    """Count the steps of a reading."""
    steps: list[int] = []
    hook = classifier(decoder).register_forward_hook(lambda *_: steps.append(1))
    read(decoder, memory)
    hook.remove()
    return len(steps)


def pair(*, end: float = 1.5, padding: float = -9.0, **changes: Any) -> list[BaseDecoder]:
    configs = [nrtr_decoder(type=x, **changes) for x in ("CachedNRTRDecoder", "NRTRDecoder")]
    return same_weights(*configs, end=end, padding=padding)


@pytest.mark.parametrize("changes", DECODERS)
@pytest.mark.parametrize("number", [1, 16])
def test_it_reads_what_mmocr_reads(changes: dict[str, Any], number: int) -> None:
    decoders = pair(**changes)
    _, ends = assert_same(decoders, random_memory(number))
    assert steps_of(decoders[0], random_memory(number)) == max(ends)
    if number > 1 and end_stops(decoders[0]):
        assert len(set(ends)) > 3  # words of several lengths


@pytest.mark.parametrize("changes", DECODERS)
def test_padding_read_in_the_middle_is_masked_as_by_mmocr(changes: dict[str, Any]) -> None:
    decoders = pair(**changes, padding=1.5)
    padded = read_padding(decoders[0], *assert_same(decoders, random_memory()))
    assert 0 < len(padded) < 16


def test_padded_columns_are_masked_as_by_mmocr() -> None:
    decoders, memory = pair(n_layers=3), random_memory()
    tokens, _ = assert_same(decoders, memory, [0.3, 0.5, 1.0, 0.01] * 4)
    whole, _ = assert_same(decoders, memory)
    assert (tokens != whole).any(dim=1).sum() > 4


def test_without_a_valid_ratio_the_whole_memory_is_read() -> None:
    ours, theirs = pair(n_layers=3)
    expected = read(theirs, random_memory(), [0.5, 1.0] * 8)[1]
    assert read(ours, random_memory(), [0.5, None] * 8)[1] == [
        (text, pytest.approx(score, abs=1e-5)) for text, score in expected
    ]
    with torch.no_grad():
        torch.testing.assert_close(
            ours(None, random_memory()), read(ours, random_memory())[0], atol=1e-5, rtol=0
        )
    with pytest.raises(ValueError, match="`out_enc` is None"):
        ours(random_memory())


def test_it_stops_when_all_have_ended() -> None:
    decoders, memory = pair(n_layers=3, end=2.0, padding=1.0), random_memory()
    _, ends = assert_same(decoders, memory)
    steps = steps_of(decoders[0], memory)
    assert steps == max(ends) < MAX_SEQ_LEN
    assert steps_of(decoders[1], memory) == MAX_SEQ_LEN
    rest = read(decoders[0], memory)[0][:, steps:]
    assert (rest[..., decoders[0].padding_idx] == 1).all()
    assert (rest.sum(dim=-1) == 1).all()


def test_it_stops_at_once_if_all_are_empty() -> None:
    decoders = pair(end=100.0)
    assert assert_same(decoders, random_memory())[1] == [1] * 16
    assert steps_of(decoders[0], random_memory()) == 1


def test_it_reads_the_same_under_autocast() -> None:
    ours, theirs = pair(n_layers=3)
    expected, _ = read(theirs, random_memory())
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = read(ours, random_memory())
    assert found.dtype == torch.float32
    tokens, own_tokens = expected.argmax(dim=-1), found.argmax(dim=-1)
    ended = (tokens == ours.dictionary.end_idx).cumsum(dim=1)
    differs = (own_tokens != tokens).cumsum(dim=1)
    # To the end, or the first character that rounding has changed: what follows is another word.
    alike = (ended.cumsum(dim=1) <= 1) & (differs.cumsum(dim=1) <= 1)
    assert alike[:, 0].all()
    torch.testing.assert_close(found[alike], expected[alike], atol=0.03, rtol=0)
    assert (own_tokens == tokens)[alike].float().mean() > 0.9


def test_the_cache_has_the_dtype_of_its_keys() -> None:
    cache = KeyValueCache(5)
    key, value = torch.randn(2, 3, 4, 1, 6).bfloat16()
    cache.append(key, value)
    keys, values = cache.append(2 * key, 3 * value)
    assert keys.dtype == torch.bfloat16
    assert keys.equal(torch.cat([key, 2 * key], dim=2))
    assert values.equal(torch.cat([value, 3 * value], dim=2))


@pytest.mark.parametrize("ratios", [(0.5, 1.0), (1.0, 1.0)])
def test_weights_and_training_are_mmocrs(ratios: tuple[float, float]) -> None:
    ours, theirs = pair(n_layers=3)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    losses = []
    for decoder in (ours, theirs):
        texts = zip(("dog", "c4ts"), ratios, strict=True)
        samples = [sample(text, valid_ratio=ratio) for text, ratio in texts]
        losses.append(decoder.train().loss(None, random_memory(2), samples)["loss_ce"])
    assert losses[0].sum() > 0
    assert losses[0].equal(losses[1])


def test_its_memory_is_that_of_nrtr() -> None:
    layout = find_memory_layout(nrtr_decoder())
    assert find_memory_layout(nrtr_decoder(type="CachedNRTRDecoder")) == layout
