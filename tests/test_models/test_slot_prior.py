# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
import torch
from mmocr.registry import MODELS
from torch import Tensor

from mmdptr.models.pretrainers import SlotPrior
from tests.builders import MAX_SEQ_LEN, WIDTH, nrtr_decoder


def batches(number: int = 5) -> list[tuple[Tensor, Tensor]]:
    torch.manual_seed(0)
    # slots beyond a label's length hold garbage
    return [(10 * torch.randn(4, 6, 3), torch.randint(1, 6, (4,))) for _ in range(number)]


def test_without_forgetting_it_is_the_plain_mean_of_each_slot() -> None:
    prior = SlotPrior(num_slots=4, width=3, decay=1.0)
    for memory, lengths in batches():
        prior.update(memory, lengths)
    for slot in range(4):
        met = [m[i, slot] for m, n in batches() for i in range(4) if n[i] > slot]
        assert len(met) > 1
        torch.testing.assert_close(prior.queries[slot], torch.stack(met).mean(0))


def test_old_batches_are_forgotten_by_decay() -> None:
    prior = SlotPrior(num_slots=1, width=1, decay=0.5)
    for value in (1.0, 2.0, 4.0):
        prior.update(torch.full((3, 1, 1), value), torch.ones(3))
    assert prior.queries.item() == pytest.approx((0.25 * 1 + 0.5 * 2 + 4) / 1.75)


def test_it_follows_what_changes() -> None:
    prior = SlotPrior(num_slots=2, width=3)
    for step in range(1000):
        prior.update(torch.full((2, 2, 3), float(step >= 300)), torch.tensor([2, 2]))
    torch.testing.assert_close(prior.queries, torch.ones(2, 3), atol=1e-2, rtol=0)


def test_slots_that_no_label_reached_get_the_overall_mean() -> None:
    prior = SlotPrior(num_slots=5, width=3, decay=1.0)
    memory = torch.randn(4, 3, 3)
    prior.update(memory, torch.tensor([2, 2, 1, 2]))
    overall = torch.cat([memory[:, 0], memory[[0, 1, 3], 1]]).mean(0)
    for slot in (2, 3, 4):
        torch.testing.assert_close(prior.queries[slot], overall)
    torch.testing.assert_close(prior.queries[1], memory[[0, 1, 3], 1].mean(0))


def test_memory_may_have_fewer_and_more_slots() -> None:
    prior = SlotPrior(num_slots=3, width=2, decay=1.0)
    prior.update(torch.ones(1, 2, 2), torch.tensor([2]))
    prior.update(3 * torch.ones(1, 9, 2), torch.tensor([9]))
    assert prior.queries.tolist() == [[2.0, 2.0], [2.0, 2.0], [3.0, 3.0]]


def test_half_precision_memory_is_summed_in_full() -> None:
    prior = SlotPrior(num_slots=1, width=1, decay=1.0)
    for _ in range(100):
        prior.update(torch.full((64, 1, 1), 11.0, dtype=torch.bfloat16), torch.ones(64))
    assert prior.queries.item() == 11.0


def test_sums_are_full_under_autocast() -> None:
    prior = SlotPrior(num_slots=1, width=1)
    with torch.autocast("cpu", torch.float16):
        prior.update(torch.full((4096, 1, 1), 20.0), torch.ones(4096))  # 81,920 in all
    assert prior.queries.item() == 20.0


def test_no_gradient_flows() -> None:
    prior, memory = SlotPrior(2, 3), torch.randn(1, 2, 3, requires_grad=True)
    prior.update(memory, torch.tensor([2]))
    assert not prior.queries.requires_grad
    assert list(prior.parameters()) == []


def test_checkpoint_of_stage_1_starts_an_fmu_by_init_cfg(tmp_path: Path) -> None:
    model = MODELS.build({"type": "DPTRPretrainer", "decoder": nrtr_decoder(), "embed_dims": 8})
    memory = torch.randn(4, 6, WIDTH)
    model.neck.update(memory, torch.full((4,), 6))
    torch.save({"state_dict": model.state_dict()}, tmp_path / "epoch_1.pth")
    init_cfg = {
        "type": "Pretrained",
        "checkpoint": str(tmp_path / "epoch_1.pth"),
        "prefix": "neck.",
    }
    fmu = MODELS.build(
        {"type": "FMU", "embed_dims": WIDTH, "num_queries": MAX_SEQ_LEN, "init_cfg": init_cfg}
    )
    attention = fmu.attention.in_proj_weight.clone()
    fmu.init_weights()
    torch.testing.assert_close(fmu.queries.data, model.neck.queries, rtol=0, atol=0)
    torch.testing.assert_close(fmu.queries[:6].data, memory.mean(0))
    assert torch.equal(fmu.attention.in_proj_weight, attention)
