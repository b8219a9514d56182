# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch

from mmdptr.models.decoders.permutations import cloze_mask, reading_masks, sample_orders
from tests.literal_parseq import readable_by_content, readable_by_query, sequences_of


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 9, 25])
@pytest.mark.parametrize("number", [1, 2, 5, 6, 12])
@pytest.mark.parametrize("mirrored", [False, True])
def test_orders_are_permutations_and_begin_with_the_usual_one(length, number, mirrored):
    turns = sample_orders(length, number, mirrored)
    assert turns.shape == (min(number, math.factorial(length)), length + 2)
    assert torch.equal(turns.sort(dim=1).values, torch.arange(length + 2).expand(len(turns), -1))
    assert turns[0].tolist() == list(range(length + 2))
    assert not turns[:, 0].any()


@pytest.mark.parametrize("length", [2, 3, 4, 7])
def test_every_second_order_is_a_mirror_image(length):
    orders = sequences_of(sample_orders(length, 6))
    assert orders[1] == [0, length + 1, *range(length, 0, -1)], "the end comes first here"
    assert all(order[-1] == length + 1 for order in orders[:1] + orders[2:])
    for one, two in zip(orders[2::2], orders[3::2], strict=False):
        assert one[1:-1] == two[1:-1][::-1]


@pytest.mark.parametrize("length", [2, 3, 4])
@pytest.mark.parametrize("mirrored", [False, True])
def test_short_texts_have_no_order_twice(length, mirrored):
    for _ in range(20):
        orders = [tuple(turns) for turns in sample_orders(length, 24, mirrored)[:, 1:-1].tolist()]
        characters = {tuple(sorted(order).index(x) for x in order) for order in orders}
        assert len(characters) == math.factorial(length)


def test_all_orders_are_drawn():
    drawn = {tuple(sample_orders(5, 4)[2, 1:-1].tolist()) for _ in range(2000)}
    assert len(drawn) == math.factorial(5)


@pytest.mark.parametrize("length", [1, 2, 3, 5, 8])
def test_masks_are_those_of_the_definition(length):
    turns = sample_orders(length, 6)
    of_query, of_content = reading_masks(turns)
    for number, sequence in enumerate(sequences_of(turns)):
        assert torch.equal(of_query[number], readable_by_query(sequence))
        assert torch.equal(of_content[number], readable_by_content(sequence))


def test_the_usual_order_is_causal():
    of_query, of_content = reading_masks(sample_orders(6, 1))
    causal = torch.ones(7, 7, dtype=torch.bool).tril()
    assert torch.equal(of_query[0], causal)
    assert torch.equal(of_content[0], causal)


def test_nobody_reads_itself_to_be_predicted():
    of_query, _ = reading_masks(sample_orders(9, 12))
    assert not of_query.diagonal(1, dim1=1, dim2=2).any()
    assert of_query[:, :, 0].all(), "all read the start"


def test_cloze_hides_only_what_is_predicted():
    mask = cloze_mask(4)
    for place in range(5):
        assert [i for i in range(5) if not mask[place, i]] == ([place + 1] if place < 4 else [])
