# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import random

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.utils import ManagerMixin
from mmengine.visualization import Visualizer

from mmdptr.engine.isolation import isolated_runner

GLOBALS = [DefaultScope, MMLogger, MessageHub, Visualizer]


def settings(cls: type[ManagerMixin]) -> dict[str, str]:
    return {"scope_name": "mmengine"} if cls is DefaultScope else {}


@pytest.mark.parametrize("cls", GLOBALS)
@pytest.mark.parametrize("fails", [False, True])
def test_current_instances_are_the_outer_ones_again(cls: type[ManagerMixin], fails: bool) -> None:
    outer = cls.get_instance("outer of isolation", **settings(cls))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cls, "_instance_dict", cls._instance_dict.copy())
        cls._instance_dict.move_to_end("outer of isolation")
        try:
            with isolated_runner():
                assert cls.get_current_instance() is outer
                inner = cls.get_instance("inner of isolation", **settings(cls))
                assert cls.get_current_instance() is inner
                if fails:
                    raise FloatingPointError
        except FloatingPointError:
            assert fails
        assert cls.get_current_instance() is outer
        assert not cls.check_instance_created("inner of isolation")


@pytest.mark.parametrize("fails", [False, True])
def test_random_numbers_go_on_as_if_nothing_had_run(fails: bool) -> None:
    def draw() -> list[float]:
        return [random.random(), np.random.rand(), torch.rand(()).item()]

    def seed(number: int) -> None:
        random.seed(number)
        np.random.seed(number)
        torch.manual_seed(number)

    seed(3)
    expected = draw() + draw()
    seed(3)
    found = draw()
    try:
        with isolated_runner():
            seed(5)
            draw()
            if fails:
                raise FloatingPointError
    except FloatingPointError:
        assert fails
    assert found + draw() == expected


def test_what_runs_inside_begins_as_outside() -> None:
    torch.manual_seed(3)
    with isolated_runner():
        inside = torch.rand(())
    assert inside == torch.rand(())


def test_of_eight_gpus_only_that_of_this_process_is_touched(
    monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    states = {3: torch.ByteTensor([1])}  # any other is a KeyError
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda gpu: states[gpu])
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda x, gpu: states.update({gpu: x}))
    with isolated_runner():
        states[3] = torch.ByteTensor([2])
    assert {gpu: state.item() for gpu, state in states.items()} == {3: 1}
    assert not recwarn.list
