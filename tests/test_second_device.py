# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The simulated device refuses what a GPU refuses, and takes what it takes."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from .second_device import SecondDeviceTensor, no_waiting, second_device


@pytest.mark.parametrize(
    "mix",
    [
        lambda here, there: here + there,
        lambda here, there: torch.cat([here, there]),
        lambda here, there: there.masked_fill(here > 0, 0.0),
        lambda here, there: torch.where(here > 0, there, there),
        lambda here, there: here[there > 0],
        lambda here, there: there.add_(here),
        lambda here, there: nn.Linear(3, 3)(there),
    ],
)
def test_two_devices_do_not_mix(mix: Callable[[Tensor, Tensor], Tensor]) -> None:
    with second_device() as device:
        here, there = torch.ones(3), torch.ones(3, device=device)
        with pytest.raises(RuntimeError, match="tensors of two devices"):
            mix(here, there)


def test_numpy_needs_the_cpu() -> None:
    with second_device() as device:
        there = torch.ones(3, device=device)
        with pytest.raises(RuntimeError, match="numpy"):
            there.numpy()
        assert there.cpu().numpy().tolist() == [1.0, 1.0, 1.0]


def test_what_a_gpu_takes_from_the_cpu() -> None:
    with second_device() as device:
        there = torch.tensor([1.0, 2.0, 3.0], device=device)
        scaled = there * torch.tensor(2.0)  # a number
        picked = there[torch.tensor([2, 0])]
        there.copy_(torch.zeros(3))
        read = picked.tolist(), there.sum().item(), there.new_tensor([4.0]).device
    assert isinstance(scaled, SecondDeviceTensor)
    assert scaled.held.tolist() == [2.0, 4.0, 6.0]
    assert read == ([3.0, 1.0], 0.0, device)


@pytest.mark.parametrize(
    "ask",
    [
        lambda there: there.sum().item(),
        lambda there: there.tolist(),
        lambda there: there.cpu(),
        lambda there: there.to("cpu", torch.float64),
        lambda there: there if there.all() else None,
        lambda there: there.nonzero(),
        lambda there: there[there > 0],
        lambda there: there.index_put((there > 0,), there.sum()),
        lambda there: int(there.max()),
    ],
)
def test_waiting_is_noticed(ask: Callable[[Tensor], object]) -> None:
    with second_device() as device:
        there = torch.ones(3, device=device)
        ask(there)
        with no_waiting(), pytest.raises(AssertionError, match="waits for the device"):
            ask(there)
        ask(there)


def test_much_can_be_done_without_waiting() -> None:
    with second_device() as device, no_waiting():
        there = torch.ones(3, device=device)
        there[torch.tensor([0, 2])] = 5.0
        there[torch.tensor([True, False, False])] += 1  # the CPU knows how many
        picked = there.half().to(device).index_select(0, torch.tensor([0, 2], device=device))
        found = torch.where(picked > 5, picked, 0.0).sum()
    assert found.item() == 6


def test_modules_learn_there() -> None:
    def learn(device: torch.device | str) -> Tensor:
        torch.manual_seed(0)
        model = nn.GRU(4, 8).to(device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.ones(2, 3, 4, device=device))[0].square().sum().backward()
            optimizer.step()
        return torch.cat([x.detach().cpu().flatten() for x in model.parameters()])

    known = learn("cpu")
    with second_device() as device:
        found = learn(device)
    torch.testing.assert_close(found, known)
