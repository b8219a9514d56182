# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""A training that pre-trains its decoder first, and hooks that watch it."""

import itertools
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.visualization import Visualizer

from tests.builders import nrtr

STAGE_1 = {
    "train_dataloader": {"batch_size": 16, "num_workers": 0, "persistent_workers": False},
    "val_dataloader": {"num_workers": 0, "persistent_workers": False},
    "train_dataloader.dataset.holdout": 0.2,
    "val_dataloader.dataset.holdout": 0.2,
    "default_hooks.logger.interval": 1,
}
run_numbers = itertools.count()


class Probe(Hook):
    """Sees the epochs of the runs that it is in, and can break one off."""

    epochs: list[int] = []
    stop_at: int | None = None

    def before_train_epoch(self, runner: Runner) -> None:
        if runner.epoch == self.stop_at:
            raise KeyboardInterrupt
        self.epochs.append(runner.epoch)


class CurrentInstances(Hook):
    """Stage 2's own instances must be the current ones."""

    seen = 0

    def before_train_iter(self, runner: Runner, **_: Any) -> None:
        assert MMLogger.get_current_instance() is runner.logger
        assert MessageHub.get_current_instance() is runner.message_hub
        assert Visualizer.get_current_instance() is runner.visualizer
        assert DefaultScope.get_current_instance().scope_name == "mmocr"
        CurrentInstances.seen += 1


def config(work_dir: Path, images: Path, hook: dict[str, Any], **changes: Any) -> Config:
    """Stage 2: two iterations an epoch, with dropout, so that chance shows."""
    options = {
        **STAGE_1,
        "custom_hooks": [
            {"type": "EpochSeedHook"},
            {"type": "NonFiniteLossHook"},
            {"type": "DPTRExportHook"},
            {"type": "Probe"},
        ],
        **hook.pop("cfg_options", {}),
    }
    if "embeddings" in hook:
        hook = {"epochs": 1, "cfg_options": options, **hook}
    pipeline = [
        {"type": "LoadImageFromFile"},
        {"type": "LoadOCRAnnotations", "with_text": True},
        {"type": "Resize", "scale": (64, 32)},
        {"type": "PackTextRecogInputs", "meta_keys": ("img_shape", "valid_ratio")},
    ]
    dataset = {
        "type": "RecogTextDataset",
        "data_root": str(images),
        "ann_file": "words.jsonl",
        "parser_cfg": {"type": "LineJsonParser", "keys": ["filename", "text"]},
        "pipeline": pipeline,
    }
    return Config(
        {
            "default_scope": "mmocr",
            "experiment_name": f"stage_2_{next(run_numbers)}",
            "work_dir": str(work_dir),
            "model": nrtr(neck={"type": "FMU", "dropout": 0.2}),
            "train_dataloader": {
                "batch_size": 4,
                "num_workers": 0,
                "sampler": {"type": "DefaultSampler", "shuffle": True},
                "dataset": dataset,
            },
            "train_cfg": {"type": "EpochBasedTrainLoop", "max_epochs": 1},
            "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.01}},
            "default_hooks": {"logger": {"type": "LoggerHook", "interval": 1}},
            "visualizer": {"type": "TextRecogLocalVisualizer", "name": "stage 2"},
            "randomness": {"seed": 0},
            "custom_hooks": [{"type": "DPTRPretrainHook", **hook}, {"type": "CurrentInstances"}],
            **changes,
        }
    )


def train(cfg: Config) -> tuple[list[float], dict[str, torch.Tensor]]:
    """The losses of stage 2 and its weights."""
    runner = Runner.from_cfg(cfg)
    runner.train()
    losses = runner.message_hub.log_scalars["train/loss"].data[0]
    return losses.tolist(), runner.model.state_dict()


def decoders(work_dir: Path) -> list[Path]:
    return sorted((work_dir / "dptr_pretrain").glob("*/decoder.pth"))
