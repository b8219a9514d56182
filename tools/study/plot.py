# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Draw the word accuracies of a study, or of several that belong together.

Recipes that are named <recipe>@<number>, such as the number of images, have one panel each and a
curve a variant against that number. Where there are more variants than recipes, each recipe has a
panel of bars, with an asterisk where an older version of mmdptr pre-trained otherwise. All others
stand below each other, each with a dot a variant. Several seeds give the mean and their range.
"""

import argparse
import statistics
from collections import defaultdict
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from results import Results, add_study_arguments, read_together
from table import asterisk

from mmdptr.extraction.arguments import exit_with_message

Averages = dict[tuple[str, str], list[float]]  # recipe and variant to averages of its seeds, in %
Marks = dict[tuple[str, str], str]  # recipe and variant to what follows the number
MARKERS = "os^Dvp*hX"


def collect(results: Results) -> Averages:
    """Return the average accuracies of what has been measured, variants in the study's order."""
    variants = list(dict.fromkeys(variant for _, variant in results))
    return {
        key: [100 * result["average"] for result in results[key].values()]
        for key in sorted(results, key=lambda key: variants.index(key[1]))
        if results[key]
    }


def spread(
    values: Sequence[Sequence[float]],
) -> tuple[list[float], tuple[list[float], list[float]]]:
    """Return the mean of each point's seeds, and how far they reach below and above."""
    means = [statistics.fmean(seeds) for seeds in values]
    low = [mean - min(seeds) for mean, seeds in zip(means, values, strict=True)]
    high = [max(seeds) - mean for mean, seeds in zip(means, values, strict=True)]
    return means, (low, high)


def draw_curves(averages: Averages, label: str) -> Figure:
    """Draw accuracy against the numbers in the names of recipes, panels side by side."""
    panels: dict[str, dict[str, dict[float, list[float]]]] = {}
    for (recipe, variant), seeds in averages.items():
        name, _, number = recipe.partition("@")
        panels.setdefault(name, {}).setdefault(variant, {})[float(number)] = seeds
    # A number makes no curve, unless there is nothing else to show.
    several = {x: curves for x, curves in panels.items() if len(set().union(*curves.values())) > 1}
    panels = several or panels
    figure = Figure(figsize=(4.6 * len(panels), 3.6), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)
    for axis, (name, curves) in zip(axes[0], panels.items(), strict=True):
        for variant, points in curves.items():
            numbers = sorted(points)
            means, reach = spread([points[number] for number in numbers])
            axis.errorbar(numbers, means, reach, marker="o", capsize=3, label=variant)
        ticks = sorted({number for points in curves.values() for number in points})
        axis.set(title=name, xlabel=label, ylabel="word accuracy, %", xscale="log")
        axis.set_ylim(0, 1.08 * axis.get_ylim()[1])
        axis.set_xticks(ticks, [f"{tick:,g}" for tick in ticks])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, loc="lower right")
    return figure


def draw_rows(averages: Averages) -> Figure:
    """Draw a row of dots a recipe, the best at the top."""
    best: dict[str, float] = defaultdict(float)
    for (recipe, _), seeds in averages.items():
        best[recipe] = max(best[recipe], statistics.fmean(seeds))
    rows = {name: i for i, name in enumerate(sorted(best, key=lambda name: best[name]))}
    variants = list(dict.fromkeys(variant for _, variant in averages))
    figure = Figure(figsize=(7, 1.4 + 0.28 * len(rows)), layout="constrained")
    axis: Axes = figure.subplots()
    for variant, marker in zip(variants, cycle(MARKERS), strict=False):
        found = {recipe: seeds for (recipe, x), seeds in averages.items() if x == variant}
        means, reach = spread(list(found.values()))
        places = [rows[recipe] for recipe in found]
        axis.errorbar(means, places, xerr=reach, fmt=marker, capsize=3, alpha=0.85, label=variant)
    axis.set(xlabel="word accuracy, %", ylim=(-0.7, len(rows) - 0.3))
    axis.set_yticks(list(rows.values()), list(rows))
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, loc="lower right")
    return figure


def draw_bars(averages: Averages, marks: Marks | None = None) -> Figure:
    """Draw a panel a recipe: a bar a variant, in the order of the study, a line at the first."""
    panels: dict[str, dict[str, list[float]]] = {}
    for (recipe, variant), seeds in averages.items():
        panels.setdefault(recipe, {})[variant] = seeds
    tallest = max(len(variants) for variants in panels.values())
    figure = Figure(figsize=(5.5 * len(panels), 1 + 0.25 * tallest), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)
    for axis, (recipe, variants) in zip(axes[0], panels.items(), strict=True):
        means, reach = spread(list(variants.values()))
        bars = axis.barh(list(variants), means, xerr=reach if max(map(max, reach)) else None)
        white = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
        axis.axvline(means[0], color="black", linestyle=":")
        labels = [
            f"{mean:.1f}{(marks or {}).get((recipe, variant), '')}"
            for variant, mean in zip(variants, means, strict=True)
        ]
        axis.bar_label(bars, labels, padding=3, fontsize=8, bbox=white)
        axis.set(title=recipe, xlabel="word accuracy, %")
        axis.margins(x=0.1)  # for the labels
        axis.set_ylim(tallest - 0.5, -0.5)  # the first on top, all bars equally thick
    return figure


def draw(averages: Averages, label: str, marks: Marks | None = None) -> Figure:
    """Choose among the three pictures.

    Raises:
        ValueError: Some recipes have numbers in their names, and some have not.
    """
    recipes, variants = ({key[i] for key in averages} for i in (0, 1))
    numbered = {"@" in recipe for recipe in recipes}
    if len(numbered) > 1:
        raise ValueError(
            "Some recipes are named <recipe>@<number>, some are not. Draw them one after the other."
        )
    if numbered == {True}:
        return draw_curves(averages, label)
    if len(variants) > len(recipes):
        return draw_bars(averages, marks)
    return draw_rows(averages)


@exit_with_message
def main() -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_study_arguments(parser)
    parser.add_argument(
        "--label", default="labelled images", help="of the numbers; default: %(default)s"
    )
    parser.add_argument("--out", type=Path, default=Path("study.png"), help="default: %(default)s")
    args = parser.parse_args()
    results = read_together(args.studies, args.results)[1]
    averages = collect(results)
    if not averages:
        raise ValueError("There are no results yet. Make them by tools/study/run.py.")
    marks = {key: asterisk(results, variant=key[1], recipe=key[0]) for key in averages}
    figure = draw(averages, args.label, marks)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out, dpi=150)
    print(f"Picture: {args.out}")


if __name__ == "__main__":
    main()
