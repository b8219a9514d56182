# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Running a function in two processes that talk to each other, as with two GPUs."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from torch import distributed, multiprocessing

TIMEOUT = timedelta(seconds=6)


def run(function: Callable[[int, Path], None], folder: Path) -> None:
    """Call it in both with its rank and the folder; neither may leave the other waiting."""
    multiprocessing.spawn(_process, (function, folder), nprocs=2)


def _process(rank: int, function: Callable[[int, Path], None], folder: Path) -> None:
    store = distributed.FileStore(str(folder / "meeting point"), 2)
    store.set(f"{rank} is there", "")
    store.wait(["0 is there", "1 is there"], timedelta(minutes=5))  # imports take long
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=TIMEOUT)
    function(rank, folder)
    distributed.destroy_process_group()
