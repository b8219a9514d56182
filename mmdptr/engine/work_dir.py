# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""What MMEngine has left in the work dir of a run: its config and what it logged."""

import json
from pathlib import Path

from mmengine.config import Config

Curve = list[tuple[int, float]]


def read_config(work_dir: str | Path) -> Config:
    """Read the config of the latest run in a work dir.

    Raises:
        FileNotFoundError: The work dir holds no ``vis_data/config.py``.
    """
    files = sorted(Path(work_dir).glob("*/vis_data/config.py"))
    if not files:
        raise FileNotFoundError(
            f"{work_dir} holds no */vis_data/config.py. Give a work_dir of an MMEngine run with a "
            "LocalVisBackend."
        )
    return Config.fromfile(files[-1], import_custom_modules=False)


def read_curve(work_dir: str | Path, key: str) -> Curve:
    """Read one scalar of all runs in a work dir, resumed ones included.

    Args:
        work_dir (str or Path): The work dir.
        key (str): Name of the scalar, such as ``'loss'``.

    Returns:
        list[tuple[int, float]]: Steps and values, by step; of a step that was run twice, the later.

    Raises:
        FileNotFoundError: The work dir holds no ``vis_data/scalars.json``.
    """
    files = sorted(Path(work_dir).glob("*/vis_data/scalars.json"))
    if not files:
        raise FileNotFoundError(
            f"{work_dir} holds no */vis_data/scalars.json. Give a work_dir of an MMEngine run with "
            "a LocalVisBackend."
        )
    curve: dict[int, float] = {}
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            if key in entry:
                curve[int(entry["step"])] = float(entry[key])
    return sorted(curve.items())


def last_value(work_dir: str | Path, key: str) -> float | None:
    """Return the last value of a scalar, that of MMOCR's ``tools/test.py`` if it was run.

    Returns:
        float or None: The value; None if the scalar was not logged.

    Raises:
        FileNotFoundError: The work dir holds neither results of a test nor logged scalars.
    """
    for file in sorted(Path(work_dir).glob("*/*.json"), reverse=True):
        found = json.loads(file.read_text(encoding="utf-8"))
        if key in found:
            return float(found[key])
    curve = read_curve(work_dir, key)
    return curve[-1][1] if curve else None
