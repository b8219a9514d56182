# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import pytest
import torch
from mmocr.models.common import Dictionary
from mmocr.registry import MODELS
from torch import Tensor

from mmdptr.models import DPTRLoss
from tests.builders import dictionary, nrtr_decoder, sample, spelled, words

NRTR_TOKENS: dict[str, bool] = {
    "with_start": True,
    "with_end": True,
    "same_start_end": True,
    "with_padding": True,
    "with_unknown": True,
}
TOKENS = {
    "same start and end, padding": NRTR_TOKENS,
    "start, end, padding": {"with_start": True, "with_end": True, "with_padding": True},
    "start, end": {"with_start": True, "with_end": True},
    "end": {"with_end": True},
    "padding": {"with_padding": True},
}
TEXTS = ["a", "", "dog7", "zebras0"]


def loss_module(tokens: dict[str, bool] | None = None, **settings: Any) -> DPTRLoss:
    settings = {"max_seq_len": 10, **settings}
    tokens = NRTR_TOKENS if tokens is None else tokens
    return DPTRLoss(dictionary=dictionary(**tokens), **settings)


def compute(loss: DPTRLoss, logits: Tensor, texts: list[str] = TEXTS) -> dict[str, Tensor]:
    return loss(logits, loss.get_targets([sample(text) for text in texts]))


def logits_for(loss: DPTRLoss, length: int, number: int = len(TEXTS)) -> Tensor:
    torch.manual_seed(0)
    return 3 * torch.randn(number, length, loss.dictionary.num_classes)


def literal(characters: Dictionary, logits: Tensor, skip_start: bool) -> tuple[Tensor, float]:
    """Character by character, in float64."""
    costs, hits = [], []
    for sequence, text in zip(logits.double(), TEXTS, strict=True):
        classes = [characters.dict.index(character) for character in text]
        if characters.end_idx is not None:
            classes.append(characters.end_idx)
        if characters.start_idx is not None and not skip_start:
            classes.insert(0, characters.start_idx)
        for step, index in enumerate(classes):
            p = sequence[step].exp() / sequence[step].exp().sum()
            costs.append(-p[index].log())
            hits.append(int(sequence[step].argmax()) == index)
    return torch.stack(costs).mean().float(), sum(hits) / len(hits)


@pytest.mark.parametrize(
    ("tokens", "skip_start"),
    [
        pytest.param(tokens, skip, id=f"{name}{', start ignored' * skip}")
        for name, tokens in TOKENS.items()
        for skip in (False, True)
        if "with_start" in tokens or not skip
    ],
)
@pytest.mark.parametrize("trim", [True, False])
def test_is_the_mean_over_characters_and_end(
    tokens: dict[str, bool], skip_start: bool, trim: bool
) -> None:
    loss = loss_module(tokens, ignore_first_char=skip_start, trim_targets=trim)
    special = (loss.dictionary.start_idx is not None) + (loss.dictionary.end_idx is not None)
    logits = logits_for(loss, 7 + special if trim else 10)
    # some are right, so that accuracy is not zero
    for i, step in ((0, 0), (2, 1), (3, 3)):
        target = loss.get_targets([sample(TEXTS[i])])[0].gt_text.padded_indexes
        logits[i, step, target[step + skip_start]] = 20
    cost, accuracy = literal(loss.dictionary, logits, skip_start)
    found = compute(loss, logits)
    torch.testing.assert_close(found["loss_ce"], cost)
    assert found["char_acc"].item() == pytest.approx(accuracy)
    assert accuracy > 0


def test_room_for_longer_labels_changes_nothing() -> None:
    short, long = (
        loss_module(ignore_first_char=True),
        loss_module(ignore_first_char=True, max_seq_len=40),
    )
    logits = logits_for(long, 40)
    torch.testing.assert_close(compute(short, logits[:, :10]), compute(long, logits))


def test_padding_gets_no_gradient() -> None:
    loss = loss_module(ignore_first_char=True)
    logits = logits_for(loss, 10).requires_grad_()
    compute(loss, logits)["loss_ce"].backward()
    moved = logits.grad.abs().sum(dim=2) > 0
    assert moved.sum(dim=1).tolist() == [len(text) + 1 for text in TEXTS]
    # a word of twice the length weighs twice as much: the mean is over characters
    assert moved.sum() == 4 + sum(map(len, TEXTS))


def test_only_what_is_asked_for_is_a_loss() -> None:
    found = compute(loss_module(ignore_first_char=True), torch.randn(4, 10, 40))
    assert sorted(found) == ["char_acc", "loss_ce"]  # mmengine sums what is named loss
    assert not found["char_acc"].requires_grad


def test_trimming_changes_neither_loss_nor_gradients_of_nrtr() -> None:
    texts = words(6, longest=5)
    memory = torch.stack([spelled(text.ljust(5, "0"), 64) for text in texts])
    results = []
    for trim in (True, False):
        torch.manual_seed(0)
        config = nrtr_decoder(n_layers=2, max_seq_len=30)
        config["module_loss"].update(type="DPTRLoss", trim_targets=trim)
        decoder = MODELS.build(config).train()
        samples = [sample(text, valid_ratio=1.0) for text in texts]
        losses = decoder.loss(None, memory, samples)
        losses["loss_ce"].backward()
        gradients = {name: p.grad for name, p in decoder.named_parameters()}
        results.append((losses, gradients, samples[0].gt_text.padded_indexes))
    (losses, gradients, targets), (all_losses, all_gradients, all_targets) = results
    assert len(targets) == max(map(len, texts)) + 2 < len(all_targets) == 30
    torch.testing.assert_close(losses, all_losses)
    assert any(gradient.abs().max() > 1e-3 for gradient in gradients.values())
    torch.testing.assert_close(gradients, all_gradients, rtol=1e-4, atol=1e-6)


def test_trimmed_samples_may_meet_a_longer_label_later() -> None:
    loss = loss_module(ignore_first_char=True, trim_targets=True)
    samples = [sample("a"), sample("b")]
    loss.get_targets(samples)
    samples[1] = sample("zebras0")
    targets = [x.gt_text.padded_indexes for x in loss.get_targets(samples)]
    assert [len(x) for x in targets] == [9, 9]


@pytest.mark.parametrize(
    ("tokens", "room"), [(NRTR_TOKENS, 8), ({"with_end": True}, 9), ({"with_padding": True}, 10)]
)
def test_label_that_would_be_cut_is_named(tokens: dict[str, bool], room: int) -> None:
    loss = loss_module(tokens)
    loss.get_targets([sample("x" * room)])
    with pytest.raises(ValueError, match=rf"label '{'x' * (room + 1)}' .* room for {room} .*10"):
        loss.get_targets([sample("ok"), sample("x" * (room + 1))])


def test_character_outside_the_dictionary_is_named_even_with_unknown() -> None:
    with pytest.raises(ValueError, match=r"label 'caf\u00e9!' holds \['!', '\u00e9'\]"):
        loss_module().get_targets([sample("caf\u00e9!")])


def test_letter_case_comes_first(tmp_path: Path) -> None:
    loss = loss_module(letter_case="lower")
    (done,) = loss.get_targets([sample("DoG")])
    assert loss.dictionary.idx2str(done.gt_text.indexes.tolist()) == "dog"
    (tmp_path / "upper.txt").write_text("S\nT\n")
    upper = DPTRLoss(
        dictionary=dictionary(tmp_path / "upper.txt", with_end=True),
        max_seq_len=5,
        letter_case="upper",
    )
    upper.get_targets([sample("\u00dfs")])
    # upper case turns one character into two
    with pytest.raises(ValueError, match="has 6 characters, the decoder has room for 4"):
        upper.get_targets([sample("\u00df" * 3)])
