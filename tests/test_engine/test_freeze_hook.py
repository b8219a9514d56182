# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmocr.registry import HOOKS
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mmdptr.engine.isolation import isolated_runner


class Model(BaseModel):
    """Two layers of which one may be frozen, and a weight in it that always is."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.decoder = nn.Linear(2, 2), nn.Linear(2, 2)
        self.decoder.bias.requires_grad_(False)

    def forward(self, inputs: Tensor, mode: str) -> dict[str, Tensor]:
        return {"loss": self.decoder(self.backbone(inputs)).square().mean()}


class Watch(Hook):
    """Remembers the decoder's weight after each iteration."""

    def __init__(self) -> None:
        self.weights: list[Tensor] = []

    def after_train_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
        self.weights.append(runner.model.decoder.weight.detach().clone())


def train(tmp_path: Any, watch: Watch, iters: int, **options: Any) -> Runner:
    with isolated_runner():
        torch.manual_seed(0)
        runner = Runner(
            model=Model(),
            work_dir=str(tmp_path),
            train_dataloader=DataLoader([{"inputs": torch.randn(2)}] * 24, batch_size=4),
            train_cfg={"by_epoch": False, "max_iters": iters},
            optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}},
            custom_hooks=[{"type": "FreezeHook", "iters": 3}, watch],
            default_hooks={
                "checkpoint": {"type": "CheckpointHook", "interval": 2, "by_epoch": False}
            },
            default_scope="mmocr",
            experiment_name=f"freeze_{iters}",
            **options,
        )
        return runner.train()


def test_the_part_learns_from_the_iteration_on(tmp_path: Any) -> None:
    watch = Watch()
    torch.manual_seed(0)
    before = Model()
    model = train(tmp_path, watch, 5)
    first, *others = watch.weights
    assert [torch.equal(first, x) for x in others] == [True, True, False, False]
    assert model.decoder.weight.requires_grad
    assert not model.decoder.bias.requires_grad  # as the model has it
    assert not torch.equal(model.backbone.weight, before.backbone.weight)


def test_a_resumed_training_that_is_past_it_freezes_nothing(tmp_path: Any) -> None:
    train(tmp_path, Watch(), 4)
    watch = Watch()
    train(tmp_path, watch, 6, resume=True)
    assert len(watch.weights) == 2
    assert not torch.equal(*watch.weights)


def test_unknown_parts_and_negative_numbers_are_refused() -> None:
    runner: Any = SimpleNamespace(model=Model(), iter=0)
    with pytest.raises(AttributeError, match="neck"):
        HOOKS.build({"type": "FreezeHook", "iters": 3, "parts": ["neck"]}).before_train(runner)
    with pytest.raises(ValueError, match="iters is -1, expected 0 or more"):
        HOOKS.build({"type": "FreezeHook", "iters": -1})
