# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Print Markdown tables of the results of a study, and how many runs are still to be made.

Of several studies with recipes of the same names the variants stand together, and are compared with
the first variant of the first.
"""

import argparse
import statistics
from collections.abc import Sequence

from packaging.version import Version
from results import Results, Seeds, add_study_arguments, choose, read_together
from study import Study
from tabulate import tabulate

from mmdptr.extraction.arguments import exit_with_message

SINCE = {"DPTRPretrainer": Version("0.1.0"), "TypesetPretrainer": Version("0.2.0")}
"""dict[str, Version]: The versions of mmdptr from which on each pre-trains as it does now."""


def cell(values: Sequence[float], form: str = ".1f") -> str:
    """Write a mean, and the standard deviation if there are several seeds."""
    if not values:
        return "-"
    spread = f" ± {statistics.stdev(values):{form.lstrip('+')}}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):{form}}{spread}"


def compare(seeds: Seeds, of_base: Seeds) -> list[float]:
    """Return the differences in points, seed by seed, so that a missing run does not tilt them."""
    return [
        100 * (seeds[seed]["average"] - of_base[seed]["average"])
        for seed in sorted(seeds.keys() & of_base.keys())
    ]


def asterisk(results: Results, variant: str, recipe: str | None = None) -> str:
    """Mark what was pre-trained otherwise than now, in results of one recipe or of any."""
    outdated = any(
        # Results of before 0.2.0 may not say what has pre-trained them.
        Version(result["versions"]["mmdptr"])
        < SINCE.get(result["stage_1"].get("pretrainer"), max(SINCE.values()))
        for key, seeds in results.items()
        if key == (recipe or key[0], variant)
        for result in seeds.values()
        if result["stage_1"]
    )
    return " *" if outdated else ""


def overview_rows(results: Results) -> list[dict[str, str]]:
    """Set the averages of each recipe side by side, a column a variant, as the study has them."""
    made = {variant for (_, variant), seeds in results.items() if seeds}
    variants = [name for name in dict.fromkeys(variant for _, variant in results) if name in made]
    return [
        {
            "recipe": recipe,
            **{
                variant: cell(
                    [100 * x["average"] for x in results.get((recipe, variant), {}).values()]
                )
                + asterisk(results, variant, recipe)
                for variant in variants
            },
        }
        for recipe in dict.fromkeys(recipe for (recipe, _), seeds in results.items() if seeds)
    ]


def accuracy_rows(study: Study, results: Results) -> list[dict[str, str]]:
    """Compare the variants of each recipe: word accuracies in %, differences in points."""
    every = [result for seeds in results.values() for result in seeds.values()]
    sets = list(dict.fromkeys(name for result in every for name in result["accuracies"]))
    seen = list(dict.fromkeys(name for result in every for name in result.get("seen_words") or {}))
    base = next(iter(study.variants))
    rows = []
    for (recipe, variant), seeds in results.items():
        if not seeds:
            continue
        row = {"recipe": recipe, "variant": variant}
        row["average"] = cell([100 * result["average"] for result in seeds.values()])
        mark = asterisk(results, variant, recipe)
        row["average"] += mark
        for name in sets:
            row[name] = cell([100 * result["accuracies"][name] for result in seeds.values()])
        for name in seen:
            found = [result["seen_words"] for result in seeds.values() if result.get("seen_words")]
            row[f"{name} words"] = cell([100 * words[name] for words in found])
        of_base = results[recipe, base]
        # What two ways of pre-training have given differs by these, too.
        alike = mark == asterisk(results, base, recipe)
        alike |= not any(result["stage_1"] for result in of_base.values())
        both = compare(seeds, of_base) if variant != base and alike else []
        rows.append({**row, f"- {base}": cell(both, "+.1f")})
    return rows


def mean_rows(study: Study, results: Results) -> list[dict[str, str]]:
    """Show how much each variant differs on average over the recipes that have been run with it."""
    base = next(iter(study.variants))
    found: dict[str, list[float]] = {}
    for (recipe, variant), seeds in results.items():
        if variant != base and (differences := compare(seeds, results[recipe, base])):
            found.setdefault(variant, []).append(statistics.fmean(differences))
    return [
        {
            "variant": variant,
            "recipes": str(len(means)),
            f"- {base}": f"{statistics.fmean(means):+.1f}{asterisk(results, variant)}",
            "lowest": f"{min(means):+.1f}",
            "highest": f"{max(means):+.1f}",
        }
        for variant, means in found.items()
        if len(means) > 1
    ]


def stage_1_rows(results: Results) -> list[dict[str, str]]:
    """Show stage 1 of the runs that have one."""
    rows = []
    for (recipe, variant), seeds in results.items():
        found = [result["stage_1"] for result in seeds.values() if result["stage_1"]]
        if not found:
            continue
        words = [100 * x["word_acc"] for x in found if x["word_acc"] is not None]
        times = [x["seconds_per_1000_labels"] for x in found]
        rows.append(
            {
                "recipe": recipe,
                "variant": variant,
                "words spelled": cell(words) + asterisk(results, variant, recipe),
                "seconds per 1,000 labels": cell(times, ".2f"),
                "seconds": cell([x["seconds"] for x in found], ".0f"),
            }
        )
    return rows


def machines(results: Results) -> str:
    """Name the machines that the times are of."""
    found = {
        "{cpu}, {cores} cores, threads: {threads}".format(**result["machine"])
        for seeds in results.values()
        for result in seeds.values()
    }
    return "; ".join(sorted(found))


def print_table(title: str, rows: Sequence[dict[str, str]]) -> None:
    """Print rows as a Markdown table."""
    form = {"headers": "keys", "tablefmt": "pipe", "disable_numparse": True}
    print(f"{title}:\n\n{tabulate(rows, **form)}\n")


@exit_with_message
def main() -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    add_study_arguments(parser)
    parser.add_argument("--recipes", nargs="+", help="names; default: all")
    args = parser.parse_args()
    studies, results = read_together(args.studies, args.results)
    if args.recipes:
        results = choose(results, args.recipes)
    overview = overview_rows(results)
    if len(overview) > 1 and len(overview[0]) > 2:
        print_table("Average word accuracy in %", overview)
    if accuracies := accuracy_rows(studies[0], results):
        print_table("Word accuracy in %", accuracies)
    if means := mean_rows(studies[0], results):
        print_table("Mean over the recipes that have both", means)
    if stage_1 := stage_1_rows(results):
        print_table(f"Stage 1, words spelled in % ({machines(results)})", stage_1)
    chosen = {recipe for recipe, _ in results}
    runs = [run for study in studies for run in study.runs if run.recipe in chosen]
    print(f"{sum(map(len, results.values()))} of {len(runs)} runs are done.")


if __name__ == "__main__":
    main()
