# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Tables of README and docs; ``make results`` has cog call these where they stand there.

Studies are the names of YAML files in this folder. A choice of recipes or variants maps their names
to what the documentation calls them.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from results import Results, choose, read_together
from study import Study
from table import accuracy_rows, machines, mean_rows, overview_rows, stage_1_rows

Rows = list[dict[str, str]]
STUDIES = Path(__file__).parent
TWELVE = (
    *("nrtr", "satrn", "master", "aster", "sar", "robustscanner", "abinet-vision", "crnn"),
    *("svtr-tiny_nrtr-decoder", "vit-small_nrtr-decoder", "parseq", "clip4str"),
)
"""tuple[str]: The recipes that means are over, unless told."""


@cache
def read(*studies: str) -> tuple[list[Study], Results]:
    """Read studies and their results."""
    return read_together([STUDIES / f"{name}.yaml" for name in studies])


def table(rows: Rows) -> None:
    """Print rows as a Markdown table, not aligned, so that a new figure changes one line."""
    head, *body = (f"| {' | '.join(line)} |" for line in (rows[0], *(x.values() for x in rows)))
    print("", head, "|---" * len(rows[0]) + "|", *body, "", sep="\n")


def pick(rows: Rows, column: str, choice: Mapping[str, str]) -> Rows:
    """Return the rows of a choice, in its order.

    Raises:
        ValueError: It names what no row has.
    """
    found = {row[column]: row for row in rows}
    if missing := ", ".join(sorted(choice.keys() - found.keys())):
        raise ValueError(f"No {column} {missing}; those with results are {', '.join(found)}.")
    return [{**found[name], column: text} for name, text in choice.items()]


def averages(
    *studies: str,
    recipes: Mapping[str, str] | None = None,
    variants: Mapping[str, str] | None = None,
) -> None:
    """Print the averages of recipes, a column a variant."""
    rows = overview_rows(read(*studies)[1])
    if recipes:
        rows = pick(rows, "recipe", recipes)
    if variants:
        names = {"recipe": "recipe", **variants}
        rows = [{names[key]: row[key] for key in names} for row in rows]
    table(rows)


def means(*studies: str, recipes: Sequence[str] = TWELVE) -> Rows:
    """Return how much each variant gives on average over recipes."""
    (first, *_), results = read(*studies)
    return mean_rows(first, choose(results, recipes))


def accuracies(*studies: str) -> None:
    """Print all accuracies."""
    (first, *_), results = read(*studies)
    table(accuracy_rows(first, results))


def stage_1(*studies: str) -> None:
    """Print what stage 1 had learnt, and the time it took on which machines."""
    results = read(*studies)[1]
    print(f"\nWords spelled in % ({machines(results)}):")
    table(stage_1_rows(results))


def compare(study: str, recipe: str, variants: Mapping[str, str]) -> None:
    """Print what stage 1 of a recipe's variants had learnt, and what they read, if they are made.

    Raises:
        ValueError: The study has no such variant.
    """
    (first, *_), results = read(study)
    if unknown := ", ".join(sorted(variants.keys() - first.variants.keys())):
        raise ValueError(f"{study}.yaml has no variant {unknown}.")
    results = choose(results, [recipe])
    spelled = {row["variant"]: row["words spelled"] for row in stage_1_rows(results)}
    rows = {row["variant"]: row for row in accuracy_rows(first, results)}
    table(
        [
            {"variant": f"`{name}`: {text}", "words spelled": spelled.get(name, "-")}
            | {key: rows[name][key] for key in rows[name] if key not in ("recipe", "variant")}
            for name, text in variants.items()
            if name in rows
        ]
    )


def value(study: str, recipe: str, variant: str, column: str = "average") -> str:
    """Return one cell of a study's accuracies.

    Raises:
        ValueError: There is no such result.
    """
    (first, *_), results = read(study)
    rows = [row for row in accuracy_rows(first, results) if row["recipe"] == recipe]
    return pick(rows, "variant", {variant: variant})[0][column]


def made(*studies: str, recipe: str | None = None) -> None:
    """Print how many of the runs are made."""
    every, results = read(*studies)
    runs = [run for study in every for run in study.runs if recipe in (None, run.recipe)]
    done = sum(run.seed in results[run.recipe, run.variant] for run in runs)
    of = f" of `{recipe}`" if recipe else ""
    print(f"{done} of {len(runs)} runs{of} are made.\n")
