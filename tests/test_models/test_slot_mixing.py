# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
from collections import Counter

import torch
from hypothesis import given
from hypothesis import strategies as st

from mmdptr.models.data_preprocessors.slot_mixing import mix_slots


@given(st.lists(st.lists(st.integers(-1, 5), min_size=1, max_size=8), min_size=1, max_size=12))
def test_every_place_gets_a_row_of_its_own_token_and_slot(labels: list[list[int]]) -> None:
    places = [(token, slot) for label in labels for slot, token in enumerate(label)]
    tokens, slots = torch.tensor(places).T
    rows = mix_slots(tokens, slots)
    assert torch.equal(tokens[rows], tokens)
    assert torch.equal(slots[rows], slots)
    assert sorted(rows.tolist()) == list(range(len(places)))


def test_all_exchanges_are_equally_likely() -> None:
    torch.manual_seed(0)
    zeros = torch.zeros(3, dtype=torch.long)
    orders = Counter(tuple(mix_slots(zeros, zeros).tolist()) for _ in range(6000))
    assert len(orders) == 6
    assert all(abs(count - 1000) < 150 for count in orders.values())  # 5 standard deviations


def test_same_seed_same_exchange() -> None:
    tokens = torch.randint(0, 4, (50,))
    results = []
    for _ in range(2):
        torch.manual_seed(7)
        results.append(mix_slots(tokens, torch.zeros(50, dtype=torch.long)))
    assert torch.equal(*results)
