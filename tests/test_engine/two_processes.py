# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Running a function in two processes that talk to each other, as with two GPUs."""

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import distributed, multiprocessing

TIMEOUT = datetime.timedelta(seconds=6)


def run(function: Callable[..., None], folder: Path, *arguments: Any) -> None:
    """Call it in both with its rank and the arguments; none may leave the other waiting."""
    multiprocessing.spawn(_process, (function, folder / "meeting point", *arguments), nprocs=2)


def _process(rank: int, function: Callable[..., None], file: Path, *arguments: Any) -> None:
    # Until both are there it may take longer.
    distributed.init_process_group("gloo", f"file://{file}", rank=rank, world_size=2)
    group = distributed.group.WORLD
    distributed.barrier()
    distributed.distributed_c10d._set_pg_timeout(TIMEOUT, group)
    function(rank, *arguments)
    distributed.destroy_process_group()
