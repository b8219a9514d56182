# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""What every benchmark writes beside its figures."""

import json
import os
import platform
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("mmdptr", "torch", "open_clip_torch", "mmocr", "mmengine", "numpy")


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
    path.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")
