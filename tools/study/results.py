# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""What was measured: the results of one study or of several that belong together."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from study import Study, read_study, results_folder

Result = dict[str, Any]
Seeds = dict[int, Result]
Results = dict[tuple[str, str], Seeds]  # by recipe and variant


def add_study_arguments(parser: argparse.ArgumentParser) -> None:
    """Let a tool read several studies."""
    parser.add_argument(
        "studies", type=Path, nargs="+", help="YAML files, such as tools/study/recognizers.yaml"
    )
    parser.add_argument(
        "--results", type=Path, nargs="+", help="default: results/<study> beside each study"
    )


def read_results(study: Study, folder: Path) -> Results:
    """Read the results that are there."""
    results: Results = {}
    for run in study.runs:
        seeds = results.setdefault((run.recipe, run.variant), {})
        file = folder / f"{run.name}.json"
        if file.is_file():
            seeds[run.seed] = json.loads(file.read_text(encoding="utf-8"))
    return results


def read_together(
    paths: Sequence[Path], folders: Sequence[Path] | None = None
) -> tuple[list[Study], Results]:
    """Read studies, and their results with the variants of a recipe together.

    Args:
        paths (Sequence[Path]): The YAML files.
        folders (Sequence[Path], optional): Of each the folder of its results. Defaults to None,
            the folder of its name in ``results`` beside it.

    Raises:
        ValueError: There are more or fewer folders than studies, or two studies have a variant of
            the same recipe and name.
    """
    folders = folders or [results_folder(path) for path in paths]
    if len(folders) != len(paths):
        raise ValueError(
            f"--results has {len(folders)} folders for {len(paths)} studies. Give one each."
        )
    studies = [read_study(path) for path in paths]
    results: Results = {}
    for study, folder in zip(studies, folders, strict=True):
        found = read_results(study, folder)
        if both := sorted(results.keys() & found.keys()):
            names = ", ".join("-".join(key) for key in both)
            raise ValueError(f"Two of the studies have {names}. Give studies of other variants.")
        results |= found
    order = list(dict.fromkeys(recipe for recipe, _ in results))
    return studies, dict(sorted(results.items(), key=lambda item: order.index(item[0][0])))


def choose(results: Results, recipes: Sequence[str]) -> Results:
    """Return the results of some recipes.

    Raises:
        ValueError: A recipe is not in the studies.
    """
    known = dict.fromkeys(recipe for recipe, _ in results)
    if unknown := [recipe for recipe in recipes if recipe not in known]:
        raise ValueError(f"No recipe {', '.join(unknown)}. The studies have {', '.join(known)}.")
    return {key: seeds for key, seeds in results.items() if key[0] in recipes}
