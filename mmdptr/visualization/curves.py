# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Pictures of training curves."""

from collections.abc import Mapping

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from mmdptr.engine.work_dir import Curve


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
