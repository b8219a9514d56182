# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Lets parts of a model stay as they are for the first part of a training."""

from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmocr.registry import HOOKS
from torch import nn


@HOOKS.register_module()
class FreezeHook(Hook):
    """Keeps parts of the model from learning until an iteration.

    A pre-trained decoder meets memory that an untrained backbone and FMU make of images; frozen,
    it cannot forget before they have found what it reads. Runs ``before_train`` and
    ``before_train_iter``. With several GPUs the model needs ``find_unused_parameters=True``.

    Args:
        iters (int): Iterations that the parts stay frozen.
        parts (Sequence[str]): Names of modules of the model. Defaults to ``('decoder',)``.

    Raises:
        ValueError: ``iters`` is negative.
    """

    def __init__(self, iters: int, parts: Sequence[str] = ("decoder",)) -> None:
        if iters < 0:
            raise ValueError(f"FreezeHook: iters is {iters}, expected 0 or more.")
        self.iters = iters
        self.parts = tuple(parts)
        self._frozen: list[nn.Parameter] = []

    def before_train(self, runner: Runner) -> None:
        """Freeze the parts, unless a resumed training is past it.

        Raises:
            AttributeError: The model has no such part.
        """
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        learning = [x for part in self.parts for x in model.get_submodule(part).parameters()]
        # What the model itself keeps frozen stays so.
        self._frozen = [x for x in learning if x.requires_grad and runner.iter < self.iters]
        for parameter in self._frozen:
            parameter.requires_grad_(False)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Let the parts learn from the iteration on."""
        if runner.iter == self.iters:
            for parameter in self._frozen:
                parameter.requires_grad_(True)
