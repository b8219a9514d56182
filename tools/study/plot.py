# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Draw accuracy against what the recipes of a study differ in, such as the number of images.

Recipes are named <recipe>@<number>. One panel a recipe and a curve a variant; several seeds give
the mean and their range.
"""

import argparse
import statistics
from collections import defaultdict
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from study import read_study, results_folder
from table import Results, read_results

from mmdptr.extraction.arguments import exit_with_message

Curves = dict[str, dict[float, list[float]]]  # variant to number to averages of its seeds


def collect(results: Results) -> dict[str, Curves]:
    """Return the average accuracies in %, by recipe."""
    panels: dict[str, Curves] = defaultdict(lambda: defaultdict(dict))
    for (recipe, variant), seeds in results.items():
        name, _, number = recipe.partition("@")
        if seeds and number:
            averages = [100 * result["average"] for result in seeds.values()]
            panels[name][variant][float(number)] = averages
    return panels


def draw(panels: dict[str, Curves], label: str) -> Figure:
    """Draw the panels side by side."""
    figure, axes = plt.subplots(
        1, len(panels), figsize=(4.6 * len(panels), 3.6), squeeze=False, layout="constrained"
    )
    for axis, (name, curves) in zip(axes[0], panels.items(), strict=True):
        for variant, points in curves.items():
            numbers = sorted(points)
            means = [statistics.fmean(points[x]) for x in numbers]
            low = [mean - min(points[x]) for x, mean in zip(numbers, means, strict=True)]
            high = [max(points[x]) - mean for x, mean in zip(numbers, means, strict=True)]
            axis.errorbar(numbers, means, (low, high), marker="o", capsize=3, label=variant)
        ticks = sorted({number for points in curves.values() for number in points})
        axis.set(title=name, xlabel=label, ylabel="word accuracy, %", xscale="log", ylim=(0, None))
        axis.set_xticks(ticks, [f"{tick:,g}" for tick in ticks])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    return figure


@exit_with_message
def main() -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("study", type=Path, help="YAML file, such as tools/study/images.yaml")
    parser.add_argument("--results", type=Path, help="default: results/<study> beside the study")
    parser.add_argument("--label", default="labelled images", help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("study.png"), help="default: %(default)s")
    args = parser.parse_args()
    results = read_results(read_study(args.study), args.results or results_folder(args.study))
    panels = collect(results)
    if not panels:
        raise ValueError(
            f"{args.study} has no results of recipes that are named <recipe>@<number>. Make them "
            "by tools/study/run.py."
        )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    draw(panels, args.label).savefig(args.out, dpi=150)
    print(f"Picture: {args.out}")


if __name__ == "__main__":
    main()
