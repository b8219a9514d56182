# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Stops a training that has diverged, before it overwrites a good checkpoint."""

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmocr.registry import HOOKS


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Raises when the loss is not finite.

    Looking at the loss waits for the device, so it is looked at every ``interval`` iterations, and
    always before a checkpoint is written: a diverged model never replaces a good one. Runs
    ``after_train_iter`` and ``before_save_checkpoint``.

    Args:
        interval (int): Iterations between two looks. Defaults to 50.
    """

    priority = "VERY_HIGH"

    def __init__(self, interval: int = 50) -> None:
        self.interval = interval
        self._loss: torch.Tensor | None = None

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, torch.Tensor] | None = None,
    ) -> None:
        """Look at the loss every ``interval`` iterations."""
        self._loss = (outputs or {}).get("loss")
        if self.every_n_train_iters(runner, self.interval):
            self._check(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Look at the last loss before a checkpoint is written."""
        self._check(runner)

    def _check(self, runner: Runner) -> None:
        if self._loss is not None and not torch.isfinite(self._loss):
            raise FloatingPointError(
                f"The loss is {self._loss.item()} in iteration {runner.iter + 1}. Checkpoints in "
                f"{runner.work_dir} are from before. Lower the learning rate, clip gradients "
                "(optim_wrapper.clip_grad) or train in fp32, and go on with --resume."
            )
