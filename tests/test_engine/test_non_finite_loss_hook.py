# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmocr.registry import HOOKS
from torch import Tensor, nn

from mmdptr.engine import NonFiniteLossHook

from . import two_processes

NAN = torch.tensor(float("nan"))
run_numbers = itertools.count()


def runner(**attributes: Any) -> Any:
    whole = {"iter": 0, "work_dir": "x", "hooks": [], "model": nn.Linear(2, 2), **attributes}
    return SimpleNamespace(**whole)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_loss_that_is_not_finite_stops_the_training(value: float) -> None:
    hook = NonFiniteLossHook(interval=1)
    hook.after_train_iter(runner(), 0, outputs={"loss": torch.tensor(1.0)})
    with pytest.raises(FloatingPointError, match=r"iteration 8 .* in the loss\. Checkpoints in x "):
        hook.after_train_iter(runner(iter=7), 7, outputs={"loss": torch.tensor(value)})


def test_parameters_that_are_not_finite_stop_it_too() -> None:
    hook = NonFiniteLossHook(interval=1)
    broken = runner(model=nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)))
    for parameter in broken.model[1:].parameters():
        nn.init.constant_(parameter, float("inf"))
    names = r"1\.weight, 1\.bias, 2\.weight and 1 more"
    with pytest.raises(FloatingPointError, match=names):
        hook.after_train_iter(broken, 0, outputs={"loss": torch.tensor(1.0)})
    with pytest.raises(FloatingPointError, match=names):
        hook.after_train_iter(broken, 0)  # without a loss


def test_it_looks_only_every_so_often_but_always_before_what_lasts() -> None:
    hook = HOOKS.build({"type": "NonFiniteLossHook"})
    for i in range(49):
        hook.after_train_iter(runner(iter=i), i, outputs={"loss": NAN})
    for look in (hook.after_train_epoch, hook.before_val_epoch):
        with pytest.raises(FloatingPointError, match="iteration 49 "):
            look(runner(iter=49))
    with pytest.raises(FloatingPointError, match="iteration 50 "):
        hook.after_train_iter(runner(iter=49), 49, outputs={"loss": NAN})
    # a good loss since then is good
    hook.after_train_iter(runner(iter=50), 50, outputs={"loss": torch.tensor(2.0)})
    hook.after_train_epoch(runner(iter=51))


class BadGradient(BaseModel):
    """Its loss is always finite; the gradient of one iteration is not."""

    def __init__(self, iteration: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.iterations_left = iteration

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = "loss") -> Any:
        self.iterations_left -= 1
        zero = (self.weight - self.weight.detach()).sum()
        # The slope of a square root at 0 is infinite.
        return {"loss": self.weight.sum() + (zero.sqrt() if self.iterations_left == 0 else 0)}


@pytest.mark.parametrize(
    ("by_epoch", "checkpoint", "diverges", "kept"),
    [
        (True, {"interval": 1}, 6, "epoch_1.pth"),
        (False, {"interval": 2}, 4, "iter_2.pth"),
        (False, {"interval": 4}, 6, "iter_4.pth"),  # the last one comes out of turn
        (False, {"interval": 3, "save_begin": 1}, 4, "iter_1.pth"),
    ],
)
def test_the_last_good_checkpoint_stays(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    by_epoch: bool,
    checkpoint: dict[str, Any],
    diverges: int,
    kept: str,
) -> None:
    monkeypatch.setattr("mmengine.runner.runner.collect_env", dict)  # only for the log, and slow
    monkeypatch.setattr(Config, "pretty_text", "")
    loop = {"by_epoch": True, "max_epochs": 2} if by_epoch else {"by_epoch": False, "max_iters": 6}
    keep_one = {"type": "CheckpointHook", "by_epoch": by_epoch, "max_keep_ckpts": 1, **checkpoint}
    training = Runner(
        BadGradient(diverges),
        str(tmp_path),
        train_dataloader={
            "batch_size": 2,
            "num_workers": 0,
            "sampler": {"type": "DefaultSampler", "shuffle": False},
            "dataset": [{"inputs": torch.zeros(1)}] * 6,
        },
        train_cfg=loop,
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}},
        default_hooks={"checkpoint": keep_one},
        custom_hooks=[NonFiniteLossHook(interval=1000)],
        experiment_name=f"diverging_{next(run_numbers)}",
        log_level="ERROR",
    )
    with pytest.raises(FloatingPointError, match=f"iteration {diverges} .* in weight"):
        training.train()
    assert [path.name for path in tmp_path.glob("*.pth")] == [kept]
    assert (tmp_path / "last_checkpoint").read_text() == str(tmp_path / kept)
    assert torch.load(tmp_path / kept)["state_dict"]["weight"].isfinite().all()


def look_in_one_of_two(rank: int, _: Path) -> None:
    hook = NonFiniteLossHook(interval=1)
    hook.after_train_iter(runner(), 0, outputs={"loss": torch.tensor(1.0)})
    loss, found = [(torch.tensor(1.0), "another process"), (NAN, "the loss")][rank]
    with pytest.raises(FloatingPointError, match=f"values in {found}"):
        hook.after_train_iter(runner(iter=1), 1, outputs={"loss": loss})


def test_all_processes_stop_at_what_one_finds(tmp_path: Path) -> None:
    two_processes.run(look_in_one_of_two, tmp_path)
