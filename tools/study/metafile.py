# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Write the models of configs/metafile.yml, which MIM lists, from the results of studies.

A recipe has one entry, with the accuracies of its variant `dptr`, the mean of all seeds. Recipes
that have no such result have none.

Example:
    python tools/study/metafile.py tools/study/{recognizers,clip4str,parseq_faithful}.yaml
"""

import argparse
import statistics
from pathlib import Path
from typing import Any

import yaml
from results import Result, read_results
from study import read_study, results_folder

from mmdptr.extraction.arguments import exit_with_message

COMMENT = """\
# Written by tools/study/metafile.py. Word accuracies that were measured here, in short trainings of
# small models (docs/benchmarks.md); no weights are published.
"""
METAFILE = Path("configs/metafile.yml")
VARIANT = "dptr"


def describe(config: str, results: list[Result]) -> dict[str, Any]:
    """Return the entry of a config: results of several seeds."""
    sets = results[0]["accuracies"]
    means = {name: statistics.fmean(x["accuracies"][name] for x in results) for name in sets}
    return {
        "Name": Path(config).stem,
        "In Collection": "DPTR",
        "Config": config,
        "Metadata": {"Training Data": "real-7k", "Seeds": len(results)},
        "Results": [
            {
                "Task": "Text Recognition",
                "Dataset": name,
                "Metrics": {"word_acc": round(mean, 4)},
            }
            for name, mean in means.items()
        ],
    }


def list_models(studies: list[Path]) -> list[dict[str, Any]]:
    """Return the entries of all recipes that have results.

    Raises:
        ValueError: Two studies have results of one config.
    """
    models: dict[str, dict[str, Any]] = {}
    for path in studies:
        study = read_study(path)
        for (recipe, variant), seeds in read_results(study, results_folder(path)).items():
            if variant != VARIANT or not seeds:
                continue
            config = study.recipes[recipe]["config"]
            if config in models:
                raise ValueError(f"{path} has results of {config}, as another study has.")
            models[config] = describe(config, list(seeds.values()))
    return [models[config] for config in sorted(models)]


@exit_with_message
def main() -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("studies", type=Path, nargs="+", help="YAML files whose results count")
    parser.add_argument("--out", type=Path, default=METAFILE, help="default: %(default)s")
    args = parser.parse_args()
    content = yaml.safe_load(args.out.read_text(encoding="utf-8"))
    content["Models"] = list_models(args.studies)
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    args.out.write_text(COMMENT + text, encoding="utf-8")
    print(f"{args.out}: {len(content['Models'])} models.")


if __name__ == "__main__":
    main()
