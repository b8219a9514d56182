# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest
import torch
from mmocr.registry import MODELS
from torch import Tensor

from mmdptr.models import PARSeqDecoder
from mmdptr.models.decoders.permutations import sample_orders
from tests import literal_parseq as literal
from tests.builders import WIDTH, dictionary, sample, words

TEXTS = ["abc", "a", "zz9", "hello0", "12345678", "x"]
PLACES = 9
TWO_TOKENS = {"with_start": True, "with_end": True, "with_padding": True}
ONE_TOKEN = {**TWO_TOKENS, "same_start_end": True}
UNKNOWN = {**ONE_TOKEN, "with_unknown": True}


def build(n_layers: int = 2, tokens: dict[str, bool] | None = None, **options: Any) -> Any:
    config = {
        "type": "PARSeqDecoder",
        "d_model": WIDTH,
        "n_layers": n_layers,
        "n_head": 4,
        "d_inner": 2 * WIDTH,
        "dropout": 0.0,
        "max_seq_len": PLACES + 1,
        "dictionary": dictionary(**(tokens or ONE_TOKEN)),
        "module_loss": {"type": "PARSeqLoss"},
        "postprocessor": {"type": "AttentionPostprocessor"},
        **options,
    }
    torch.manual_seed(0)
    decoder = MODELS.build(config)
    for parameter in decoder.parameters():  # so that what is read depends on the memory
        if parameter.dim() == 2:
            parameter.data *= 6
    return decoder


def memory_of(number: int = len(TEXTS), slots: int = 7) -> Tensor:
    return torch.randn(number, slots, WIDTH, generator=torch.Generator().manual_seed(2))


def indices(decoder: PARSeqDecoder) -> list[list[int]]:
    return [decoder.dictionary.str2idx(text) for text in TEXTS]


@pytest.mark.parametrize("tokens", [ONE_TOKEN, TWO_TOKENS, UNKNOWN])
@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_one_pass_is_one_order_after_the_other(n_layers, tokens):
    decoder = build(n_layers, tokens)
    memory = memory_of().requires_grad_()
    torch.manual_seed(3)
    found = decoder.loss(memory, None, [sample(text) for text in TEXTS])["loss_ce"]
    torch.manual_seed(3)
    expected = literal.loss(decoder, memory, indices(decoder), sample_orders(8, 6))
    torch.testing.assert_close(found, expected)
    gradients = [
        torch.autograd.grad(loss, [memory, *decoder.parameters()], allow_unused=True)
        for loss in (found, expected)
    ]
    names = ["memory", *dict(decoder.named_parameters())]
    for name, one, two in zip(names, *gradients, strict=True):
        assert one is not None, name
        torch.testing.assert_close(one, two, msg=name)


def test_the_order_of_orders_is_nothing_to_the_loss():
    decoder = build()
    samples = decoder.module_loss.get_targets([sample(text) for text in TEXTS])
    content = torch.stack([x.gt_text.padded_indexes for x in samples])[:, :9]
    lengths = torch.tensor([len(text) for text in TEXTS])
    decoder.module_loss.num_orders_with_end = 0
    turns = sample_orders(8, 6)
    losses = [
        decoder.module_loss(
            decoder.predict_in_orders(memory_of(), content, lengths, turns[order]), samples
        )["loss_ce"]
        for order in (torch.arange(6), torch.tensor([3, 1, 5, 0, 2, 4]))
    ]
    torch.testing.assert_close(*losses)


def test_the_usual_order_is_a_causal_decoder():
    decoder = build().eval()
    content = torch.randint(36, (6, 9))
    lengths = torch.full((6,), 8)
    turns = sample_orders(8, 1)
    one = decoder.predict_in_orders(memory_of(), content, lengths, turns)[0]
    for place in range(1, 9):
        changed = content.clone()
        changed[:, place:] = torch.randint(36, (6, 9 - place))
        two = decoder.predict_in_orders(memory_of(), changed, lengths, turns)[0]
        torch.testing.assert_close(one[:, :place], two[:, :place])
        assert (one[:, place:] - two[:, place:]).abs().max() > 1e-3


def test_padding_is_nothing_to_a_text():
    decoder = build().eval()
    turns = sample_orders(8, 4)
    content = torch.randint(36, (2, 9))
    lengths = torch.tensor([3, 8])
    one = decoder.predict_in_orders(memory_of(2), content, lengths, turns)
    content[0, 4:] = decoder.dictionary.padding_idx
    two = decoder.predict_in_orders(memory_of(2), content, lengths, turns)
    torch.testing.assert_close(one[:, :, :4], two[:, :, :4])


@pytest.mark.parametrize("tokens", [ONE_TOKEN, TWO_TOKENS])
@pytest.mark.parametrize("n_layers", [1, 3])
def test_reading_with_a_cache_is_reading_without(n_layers, tokens):
    decoder = build(n_layers, tokens).eval()
    memory = memory_of(40)
    with torch.no_grad():
        ended = 0
        while ended < 10:  # more and more, but not all
            decoder.classifier.bias[decoder.dictionary.end_idx] += 0.1
            expected = literal.decode(decoder, memory)
            ended = (expected.argmax(-1) == decoder.dictionary.end_idx).any(1).sum()
        assert ended < 40
        found = decoder.decode(memory)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
        refined = decoder.refine(memory, found)
        torch.testing.assert_close(
            refined, literal.refine(decoder, memory, expected), atol=1e-4, rtol=1e-4
        )


def test_it_stops_when_all_have_ended_and_refines_all_places():
    decoder = build().eval()
    end = decoder.dictionary.end_idx
    decoder.classifier.bias.data[end] += 100
    with torch.no_grad():
        assert decoder.decode(memory_of()).shape[1] == 1
        decoder.classifier.bias.data[end] -= 100
        draft = torch.eye(decoder.dictionary.num_classes)[torch.tensor([[1, 2, end]] * 6)]
        short = decoder.refine(memory_of(), draft)
        filled = torch.eye(decoder.dictionary.num_classes)[
            torch.tensor([[1, 2, end, *[5] * (PLACES - 3)]] * 6)
        ]
        assert short.shape[1] == PLACES
        torch.testing.assert_close(short, decoder.refine(memory_of(), filled))


@pytest.mark.parametrize("autoregressive", [True, False])
@pytest.mark.parametrize("num_refinements", [0, 1, 2])
def test_learns_texts_by_heart_in_all_ways_of_reading(autoregressive, num_refinements, learnt):
    decoder, memory, texts = learnt
    decoder.autoregressive, decoder.num_refinements = autoregressive, num_refinements
    samples = decoder.predict(memory, None, [sample(text) for text in texts])
    assert [x.pred_text.item for x in samples] == texts
    assert min(min(x.pred_text.score) for x in samples) > 0.5


def test_a_perfect_draft_stays(learnt):
    decoder, memory, texts = learnt
    with torch.no_grad():
        read = decoder.decode(memory)
        refined = decoder.refine(memory, read).argmax(-1)
    for row, text in enumerate(texts):
        assert torch.equal(refined[row, : len(text) + 1], read.argmax(-1)[row, : len(text) + 1])


def test_a_wrong_character_is_mended(learnt):
    decoder, memory, texts = learnt
    with torch.no_grad():
        draft = decoder.decode(memory)
        draft[:, 0] = draft[:, 0].roll(1, dims=1)  # each reads another first character
        refined = decoder.refine(memory, draft)
    assert refined.argmax(-1)[:, 0].tolist() == [decoder.dictionary.char2idx(x[0]) for x in texts]


@pytest.fixture(scope="module")
def learnt() -> tuple[PARSeqDecoder, Tensor, list[str]]:
    texts = words(32)
    decoder = build(1, module_loss={"type": "PARSeqLoss"}).train()
    memory = memory_of(32)
    optimizer = torch.optim.Adam(decoder.parameters(), 2e-3)
    for _ in range(150):
        optimizer.zero_grad()
        decoder.loss(memory, None, [sample(text) for text in texts])["loss_ce"].backward()
        optimizer.step()
    return decoder.eval(), memory, texts


def test_maps_are_read_and_their_padding_is_not():
    decoder = build().eval()
    grid = torch.randn(2, WIDTH, 2, 6)
    samples = [sample("ab", valid_ratio=0.5), sample("cd")]
    one = decoder(grid, None, samples)
    torch.testing.assert_close(one[1:], decoder(None, grid.flatten(2).mT[1:], samples[1:]))
    changed = grid.clone()
    changed[0, :, :, 3:] = 9
    torch.testing.assert_close(one, decoder(changed, None, samples))
    assert not torch.allclose(one[0], decoder(changed, None)[0])
    decoder.train()
    losses = []
    for memory in (grid, changed):
        torch.manual_seed(0)
        losses.append(decoder.loss(memory, None, samples)["loss_ce"])
    torch.testing.assert_close(*losses)


def test_dropout_differs_between_samples_and_orders():
    decoder = build(1, dropout=0.5).train()
    content = torch.full((2, 4), 3)
    memory = memory_of(1).expand(2, -1, -1)
    turns = sample_orders(3, 1).expand(2, -1)
    logits = decoder.predict_in_orders(memory, content, torch.tensor([3, 3]), turns)
    assert not torch.allclose(logits[0, 0], logits[0, 1])
    assert not torch.allclose(logits[0, 0], logits[1, 0])


@pytest.mark.parametrize("token", ["start", "end", "padding"])
def test_special_tokens_are_needed(token):
    tokens = {f"with_{name}": name != token for name in ("start", "end", "padding")}
    with pytest.raises(ValueError, match=f"needs a dictionary with a {token} token"):
        build(tokens=tokens, module_loss=None, postprocessor=None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_head": 3}, "3 heads do not divide 64 channels"),
        ({"num_orders": 0}, "num_orders is 0, expected 1 or more"),
        ({"n_layers": 0}, "n_layers is 0, expected 1 or more"),
        ({"max_seq_len": 2}, "max_seq_len is 2, expected 3 or more"),
    ],
)
def test_what_cannot_be_built_says_why(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_there_must_be_a_memory():
    with pytest.raises(ValueError, match="neither `feat` nor `out_enc`"):
        build().eval()(None, None)


def test_labels_that_are_too_long_are_cut_as_by_mmocr():
    decoder = build()
    samples = [sample("abcdefghijklmnop"), sample("ab")]
    logits = decoder(memory_of(2), None, decoder.module_loss.get_targets(samples))
    assert logits.shape[:3] == (6, 2, PLACES)
    assert torch.isfinite(decoder.module_loss(logits, samples)["loss_ce"])
