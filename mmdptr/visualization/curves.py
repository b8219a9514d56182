# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Pictures of training curves."""

import json
from collections.abc import Mapping
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

Curve = list[tuple[int, float]]


def read_curve(work_dir: str | Path, key: str) -> Curve:
    """Read one scalar of all runs of an MMEngine work dir, resumed ones included.

    Args:
        work_dir (str or Path): The work dir.
        key (str): Name of the scalar; a part of it will do if only one has it, such as ``'loss'``.

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


def draw_curves(panels: Mapping[str, Mapping[str, Curve]]) -> Figure:
    """Draw panels of curves side by side.

    Args:
        panels (Mapping): Panel title to curve name to curve.

    Returns:
        Figure: The picture; save it with ``savefig``.
    """
    figure, axes = plt.subplots(
        1, len(panels), figsize=(5 * len(panels), 3.6), squeeze=False, layout="constrained"
    )
    for axis, (title, curves) in zip(axes[0], panels.items(), strict=True):
        for name, curve in curves.items():
            marker = "o" if len(curve) < 20 else None
            axis.plot(*zip(*curve, strict=True), label=name, marker=marker, markersize=4)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    return figure
