# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from mmocr.registry import MODELS
from torch import Tensor

from mmdptr.models import PARSeqLoss
from tests.builders import dictionary, sample

TEXTS = ["ab", "abcd", "x"]


def build(**options: object) -> PARSeqLoss:
    return MODELS.build(
        {"type": "PARSeqLoss", "dictionary": dictionary(), "max_seq_len": 8, **options}
    )


def value(loss: PARSeqLoss, logits: Tensor, texts: list[str] = TEXTS) -> Tensor:
    return loss(logits, loss.get_targets([sample(text) for text in texts]))["loss_ce"]


def perfect(loss: PARSeqLoss, texts: list[str] = TEXTS, orders: int = 3) -> Tensor:
    """Logits (K, N, t, M) that are sure of each text and its end."""
    samples = loss.get_targets([sample(text) for text in texts])
    size = max(map(len, texts)) + 1
    targets = torch.stack([x.gt_text.padded_indexes[1 : size + 1] for x in samples])
    classes = loss.dictionary.num_classes
    return 100 * torch.eye(classes)[targets].expand(orders, -1, -1, -1).clone()


@pytest.mark.parametrize("orders", [1, 2, 6])
def test_knowing_nothing_costs_the_logarithm_of_the_classes(orders: int) -> None:
    loss = build()
    classes = loss.dictionary.num_classes
    logits = torch.zeros(orders, 3, 5, classes)
    assert value(loss, logits) == pytest.approx(math.log(classes), rel=1e-6)


def test_the_mean_is_over_characters_and_the_ends_of_two_orders() -> None:
    loss = build()
    logits = perfect(loss)
    assert value(loss, logits) < 1e-6
    # One wrong character among 3 orders of 7, and 2 of 3 ends.
    wrong = logits.clone()
    wrong[2, 1, 3] = logits[2, 1, 3].roll(1)
    assert value(loss, wrong) == pytest.approx(100 / (3 * 7 + 2 * 3), rel=1e-5)


@pytest.mark.parametrize(("order", "counts"), [(0, True), (1, True), (2, False)])
def test_the_end_counts_in_the_first_two_orders(order: int, counts: bool) -> None:
    loss = build()
    logits = perfect(loss)
    logits[order, 0, 2] = logits[order, 0, 2].roll(1)  # the end of "ab"
    assert bool(value(loss, logits) > 1) == counts


def test_padding_does_not_count() -> None:
    loss = build()
    logits = perfect(loss)
    logits[:, 0, 3:] = torch.randn(3, 2, loss.dictionary.num_classes)
    assert value(loss, logits) < 1e-6


def test_a_label_that_was_cut_has_no_end() -> None:
    loss = build()
    texts = ["abcdefghijk"]  # room is for 6 characters, or 7 without the end
    logits = torch.zeros(1, 1, 7, loss.dictionary.num_classes)
    for place, character in enumerate("abcdefg"):
        logits[0, 0, place, loss.dictionary.char2idx(character)] = 100
    assert value(loss, logits, texts) < 1e-6
