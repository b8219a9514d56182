# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""What a finished run has logged, as the numbers of its result."""

import itertools
import os
import platform
import re
import statistics
from collections import Counter
from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import Any

import mmengine
import mmocr
import numpy as np
import torch
from mmengine.config import Config

import mmdptr
from mmdptr.bfloat16 import cpu_multiplies_bfloat16
from mmdptr.engine.work_dir import last_value, read_config, read_curve

CURVE_POINTS = 100
PACKAGES = {"mmdptr": mmdptr, "mmocr": mmocr, "mmengine": mmengine, "torch": torch}
STAMPED = re.compile(r"^(\S+ \S+) - mmengine - \w+ - (?:(?:Iter|Epoch)\((\w+)\))?", re.MULTILINE)
LOADED = re.compile(r"Loaded from (.+?): \d+ tensors of ")  # what load_decoder logs


def measure(cfg: Config, folder: Path, metric: str) -> dict[str, Any]:
    """Return all that the logs of a work dir tell of a run, and where it was computed."""
    values, spent = accuracies(cfg, folder, metric), seconds_spent(folder)
    return {
        "versions": {
            **{name: package.__version__ for name, package in PACKAGES.items()},
            "python": platform.python_version(),
        },
        "machine": describe_machine(),
        "accuracies": values,
        "average": statistics.fmean(values.values()),
        "seen_words": seen_words(folder, log_prefixes(cfg).values(), metric),
        "seconds": {"train": spent["train"], "evaluation": spent["val"] + spent["test"]},
        "stage_1": stage_1(folder),
        "loss": thin(read_curve(folder, "loss")),
    }


def accuracies(cfg: Config, folder: Path, metric: str) -> dict[str, float]:
    """Return the accuracies of all test sets, or nothing before they were evaluated."""
    prefixes = log_prefixes(cfg)
    values = {
        name: last_value(folder, f"{prefix}recog/{metric}") for name, prefix in prefixes.items()
    }
    found = {name: value for name, value in values.items() if value is not None}
    return found if len(found) == len(prefixes) else {}


def log_prefixes(cfg: Config) -> dict[str, str]:
    """Return what stands before the metrics of each test set in the logs.

    The only test set of a config whose evaluator names none is called "test".

    Raises:
        ValueError: The config has no evaluator.
    """
    if not cfg.get("val_evaluator"):
        raise ValueError(
            "The recipe has no val_evaluator, expected one with a WordMetric, like that of "
            "configs/mini/dptr_nrtr_mini.py."
        )
    names = cfg.val_evaluator.get("dataset_prefixes")
    return {name: f"{name}/" for name in names} if names else {"test": ""}


def seen_words(folder: Path, prefixes: Collection[str], metric: str) -> dict[str, float] | None:
    """Return the accuracies over all sets of words that training has seen, and has not.

    None if the run has no ``SeenWordMetric``, or there are no words of one kind.
    """
    found = {}
    for kind in ("seen", "unseen"):
        counts = [last_value(folder, f"{prefix}recog/num_{kind}") or 0 for prefix in prefixes]
        accuracies = [last_value(folder, f"{x}recog/{metric}_{kind}") or 0 for x in prefixes]
        if not any(counts):
            return None
        found[kind] = float(np.average(accuracies, weights=counts))
    return found


def seconds_spent(folder: Path) -> Counter[str]:
    """Sum up the times in the logs of a work dir: what passed before a line goes to its subject."""
    spent: Counter[str] = Counter()
    for log in folder.glob("*/*.log"):
        lines = STAMPED.findall(log.read_text(encoding="utf-8"))
        stamps = [(datetime.strptime(stamp, "%Y/%m/%d %H:%M:%S"), kind) for stamp, kind in lines]
        for (before, _), (now, kind) in itertools.pairwise(stamps):
            spent[kind] += int((now - before).total_seconds())
    return spent


def stage_1(folder: Path) -> dict[str, Any] | None:
    """Measure the stage 1 whose decoder a run has loaded; None if it has not, or logs are gone."""
    logs = "".join(log.read_text(encoding="utf-8") for log in sorted(folder.glob("*/*.log")))
    decoders = LOADED.findall(logs)
    if not decoders:
        return None
    place = Path(decoders[-1]).parent
    try:
        cfg, times, losses = (
            read_config(place),
            read_curve(place, "time"),
            read_curve(place, "loss"),
        )
    except FileNotFoundError:
        return None
    # Validation logs times as well, but no losses.
    training = {step for step, _ in losses}
    iterations = [seconds for step, seconds in times if step in training]
    if not iterations:
        return None
    seconds_per_label = statistics.median(iterations) / cfg.train_dataloader.batch_size
    spent = seconds_spent(place)
    return {
        "fingerprint": place.name,
        "pretrainer": cfg.model.type,
        "word_acc": last_value(place, "spelling/word_acc"),
        "seconds": spent["train"] + spent["val"],
        "seconds_per_1000_labels": round(1000 * seconds_per_label, 3),
    }


def thin(curve: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return points at equal distances, the last one among them."""
    stride = -(-len(curve) // CURVE_POINTS) or 1
    return [(step, round(value, 5)) for step, value in curve[::-stride][::-1]]


def describe_machine() -> dict[str, Any]:
    """Name the processor and how much of it computes: times say nothing without."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.+)$", info.read_text(), re.M) if info.is_file() else []
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "bfloat16": cpu_multiplies_bfloat16(),  # else BF16OptimWrapper trains in float32
    }
