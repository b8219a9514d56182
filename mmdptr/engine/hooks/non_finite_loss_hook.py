# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Stops a training that has diverged, before it overwrites a good checkpoint."""

from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner
from mmocr.registry import HOOKS


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Raises when the loss or a parameter is not finite.

    A finite loss can have a gradient that is not, so that the parameters are looked at, too. This
    takes a little time: it is done every ``interval`` iterations, at the end of an epoch, before
    validation and whenever :class:`CheckpointHook` is about to write a checkpoint, before that
    deletes an old one. A diverged model never replaces a good one. What one process finds stops
    all. Runs ``after_train_iter``, ``after_train_epoch`` and ``before_val_epoch``.

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
        """Look every ``interval`` iterations, and where a checkpoint is due."""
        self._loss = (outputs or {}).get("loss")
        if self.every_n_train_iters(runner, self.interval) or _checkpoint_is_due(runner):
            self._check(runner, runner.iter + 1)

    def after_train_epoch(self, runner: Runner) -> None:
        """Look before a checkpoint of the epoch is written."""
        self._check(runner, runner.iter)

    def before_val_epoch(self, runner: Runner) -> None:
        """Look before a model can become the best one."""
        self._check(runner, runner.iter)

    def _check(self, runner: Runner, iteration: int) -> None:
        tensors = {} if self._loss is None else {"the loss": self._loss}
        tensors.update(runner.model.named_parameters())
        # One value that is not finite makes the sum so; looking at each takes eight times as long.
        sums = [x.detach().sum(dtype=torch.float32) for x in tensors.values()]
        finite = torch.stack(sums).isfinite()
        everywhere = finite.all().int()
        all_reduce(everywhere, "min")  # one process that stops alone leaves the others waiting
        if everywhere:
            return
        broken = [name for name, good in zip(tensors, finite.tolist(), strict=True) if not good]
        more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
        raise FloatingPointError(
            f"After iteration {iteration} there are NaN or infinite values in "
            f"{', '.join(broken[:3]) or 'another process'}{more}. Checkpoints in "
            f"{runner.work_dir} are from before. Lower the learning rate, clip gradients "
            "(optim_wrapper.clip_grad) or train in fp32, and go on with --resume."
        )


def _checkpoint_is_due(runner: Runner) -> bool:
    """Whether a checkpoint is written after this iteration, by the rule of CheckpointHook."""
    return any(
        hook.every_n_train_iters(runner, hook.interval, hook.save_begin)
        or (hook.save_last and hook.is_last_train_iter(runner))
        for hook in runner.hooks
        if isinstance(hook, CheckpointHook) and not hook.by_epoch
    )
