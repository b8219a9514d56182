# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""What all benchmarks have in common: how they are started, and what they write."""

import argparse
import json
import os
import platform
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate

from mmdptr.embeddings.sharded_folder import write_atomically

PACKAGES = ("mmdptr", "torch", "open_clip_torch", "mmocr", "mmengine", "numpy")


def parse_arguments(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line of a benchmark, and set the number of threads.

    Args:
        parser (argparse.ArgumentParser): Has the benchmark's own arguments.
    """
    parser.add_argument("--threads", type=int, help="default: PyTorch's choice")
    parser.add_argument("--json", type=Path, help="also write the results here")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    return args


def markdown(rows: Sequence[dict[str, str]]) -> str:
    """Lay out the cells of rows, by column, as a Markdown table: the first column is the name."""
    align = ["left"] + ["right"] * (len(rows[0]) - 1)
    return tabulate(rows, "keys", "pipe", disable_numparse=True, colalign=align)


def write_report(path: Path | None, rows: list[dict[str, Any]], **about: Any) -> None:
    """Write the rows of a benchmark as JSON, with what they were measured on.

    Args:
        path (Path, optional): Where to; nowhere if None.
        rows (list[dict]): Rows of the table.
        **about: Settings of the run. Machine, versions and date are added.
    """
    if path is None:
        return
    about |= {
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "date": f"{date.today()}",
        **{package: version(package) for package in PACKAGES},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps({"about": about, "rows": rows}, indent=1) + "\n").encode())
