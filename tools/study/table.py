# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Print Markdown tables of the results of a study; what was not run is a dash."""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from study import Study, read_study, results_folder

from mmdptr.extraction.arguments import exit_with_message

Result = dict[str, Any]
Results = dict[tuple[str, str], dict[int, Result]]  # recipe and variant to seed to result


def read_results(study: Study, folder: Path) -> Results:
    """Read the results that are there."""
    results: Results = {}
    for run in study.runs:
        seeds = results.setdefault((run.recipe, run.variant), {})
        file = folder / f"{run.name}.json"
        if file.is_file():
            seeds[run.seed] = json.loads(file.read_text(encoding="utf-8"))
    return results


def cell(values: Sequence[float], form: str = ".1f") -> str:
    """Write a mean, and the standard deviation if there are several seeds."""
    if not values:
        return "-"
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):{form}}{spread}"


def row(cells: Sequence[str]) -> str:
    """Write a row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def header(cells: Sequence[str]) -> list[str]:
    """Write the first two rows of a Markdown table."""
    return [row(cells), "|---" * len(cells) + "|"]


def accuracy_table(study: Study, results: Results) -> list[str]:
    """Compare the variants: a row a recipe, word accuracies in %, differences in points."""
    every = [result for seeds in results.values() for result in seeds.values()]
    sets = list(dict.fromkeys(name for result in every for name in result["accuracies"]))
    base, *others = study.variants
    columns = [f"{variant}: {x}" for variant in study.variants for x in ("average", *sets)]
    lines = header(["recipe", *columns, *(f"{variant} - {base}" for variant in others)])
    for recipe in study.recipes:
        cells = [recipe]
        for variant in study.variants:
            found = results[recipe, variant].values()
            cells.append(cell([100 * result["average"] for result in found]))
            cells += [cell([100 * result["accuracies"][x] for result in found]) for x in sets]
        for variant in others:
            # Seed by seed, so that a missing run does not tilt the comparison.
            one, two = results[recipe, base], results[recipe, variant]
            both = [100 * (two[k]["average"] - one[k]["average"]) for k in one.keys() & two.keys()]
            cells.append(cell(both, "+.1f"))
        lines.append(row(cells))
    return lines


def stage_1_table(study: Study, results: Results) -> list[str]:
    """Show stage 1 of the variants that have one; no lines if none has."""
    measured = {
        key: [result["stage_1"] for result in seeds.values() if result["stage_1"]]
        for key, seeds in results.items()
    }
    variants = [v for v in study.variants if any(measured[recipe, v] for recipe in study.recipes)]
    if not variants:
        return []
    lines = header(["recipe", "variant", "words spelled", "seconds per 1,000 labels", "seconds"])
    for recipe in study.recipes:
        for variant in variants:
            found = measured[recipe, variant]
            words = cell([100 * x["word_acc"] for x in found if x["word_acc"] is not None])
            times = cell([x["seconds_per_1000_labels"] for x in found], ".2f")
            lines.append(row([recipe, variant, words, times, cell([x["seconds"] for x in found])]))
    return lines


def machines(results: Results) -> str:
    """Name the machines that the times are of."""
    found = {
        "{cpu}, {cores} cores, {threads} threads".format(**result["machine"])
        for seeds in results.values()
        for result in seeds.values()
    }
    return "; ".join(sorted(found))


@exit_with_message
def main() -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path, help="YAML file, such as tools/study/recognizers.yaml")
    parser.add_argument("--results", type=Path, help="default: results/<study> beside the study")
    args = parser.parse_args()
    study = read_study(args.study)
    results = read_results(study, args.results or results_folder(args.study))
    print("Word accuracy in %:", "", *accuracy_table(study, results), sep="\n")
    if stage_1 := stage_1_table(study, results):
        print("", f"Stage 1, words spelled in % ({machines(results)}):", "", *stage_1, sep="\n")


if __name__ == "__main__":
    main()
