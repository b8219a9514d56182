# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""One of the processes that a launcher starts to train both stages together, on CPUs.

python -m torch.distributed.run ... stage_2_of_two.py WORK_DIR IMAGES HOOK, with the arguments of
the hook as JSON. What it has learnt it leaves in ``WORK_DIR/rank_<number>.pth``.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import Runner, runner
from mmocr.registry import HOOKS
from torch import distributed

import mmdptr  # noqa: F401  registers the hook
from tests.test_engine.test_dptr_pretrain_hook.stage_2 import CurrentInstances, Probe, config


class OnCPUs(MMDistributedDataParallel):
    """MMEngine names a GPU for each process."""

    def __init__(self, *args: Any, device_ids: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


def main(work_dir: Path, images: Path, hook: dict[str, Any]) -> None:
    torch.cuda.set_device = lambda device: None  # MMEngine's launcher calls it
    runner.MMDistributedDataParallel = OnCPUs
    runner.collect_env, Config.pretty_text = dict, ""  # only for the log, and slow
    for cls in (Probe, CurrentInstances):
        HOOKS.register_module(module=cls)
    together = {
        "launcher": "pytorch",
        "env_cfg": {"dist_cfg": {"backend": "gloo"}},
        "auto_scale_lr": {"enable": True, "base_batch_size": 4},
    }
    stage_2 = Runner.from_cfg(config(work_dir, images, hook, **together))
    stage_2.train()
    assert isinstance(stage_2.model, OnCPUs)
    learnt = {
        "epochs": Probe.epochs,
        "parameters": {k: x.detach() for k, x in stage_2.model.module.named_parameters()},
        "losses": stage_2.message_hub.log_scalars["train/loss"].data[0].tolist(),
    }
    torch.save(learnt, work_dir / f"rank_{distributed.get_rank()}.pth")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
