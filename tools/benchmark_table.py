# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Print a Markdown table of runs in MMOCR's form, from the work dirs that MMEngine left.

A row says on what and how long a run was trained, and its word accuracies: those of the last test
(MMOCR's tools/test.py) or validation. The work dirs may be of any recognizer.
"""

import argparse
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from tabulate import tabulate

from mmdptr.engine.work_dir import last_value, read_config
from mmdptr.extraction.arguments import exit_with_message


def annotation_files(dataset: Mapping[str, Any]) -> Iterator[str]:
    """Yield the annotation files of a dataset and all that it is made of."""
    inner = dataset.get("datasets") or [x for x in [dataset.get("dataset")] if x]
    if "ann_file" in dataset:
        file = str(Path(dataset.get("data_root") or "", dataset["ann_file"]))
        yield f"{file} (first {dataset['indices']:,})" if dataset.get("indices") else file
    for part in inner:
        yield from annotation_files(part)


def schedule(cfg: Config) -> str:
    """Say how long was trained, in batches of one process."""
    loop, batch = cfg.train_cfg, cfg.train_dataloader.batch_size
    if "max_iters" in loop:
        return f"{loop.max_iters:,} steps of {batch}"
    return f"{loop.max_epochs} epochs, batches of {batch}"


def test_sets(cfg: Config) -> list[str]:
    """Return the names that accuracies are logged by."""
    evaluator = cfg.get("test_evaluator") or cfg.get("val_evaluator") or {}
    evaluator = evaluator if isinstance(evaluator, dict) else {}
    return list(evaluator.get("dataset_prefixes") or [])


def describe(work_dir: Path, sets: list[str], metric: str) -> dict[str, str]:
    """Return a row of the table.

    Raises:
        FileNotFoundError: The folder is not a work dir.
        ValueError: A test set was not evaluated.
    """
    cfg = read_config(work_dir)
    names = sets or test_sets(cfg)
    values = {name: last_value(work_dir, f"{name}/{metric}") for name in names}
    missing = [name for name, value in values.items() if value is None]
    if missing or not names:
        raise ValueError(
            f"{work_dir} has not logged {metric} of {', '.join(missing) or 'any test set'}. Run "
            "tools/test.py with its config and checkpoint, name other --sets or another --metric."
        )
    found = [value for value in values.values() if value is not None]
    return {
        "trained on": ", ".join(annotation_files(cfg.train_dataloader.dataset)),
        "schedule": schedule(cfg),
        **{name: f"{value:.4f}" for name, value in zip(names, found, strict=True)},
        "average, %": f"{100 * statistics.fmean(found):.2f}",
    }


@exit_with_message
def main() -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "runs", nargs="+", metavar="[NAME=]WORK_DIR", help="work dir, named after its folder"
    )
    parser.add_argument("--sets", nargs="+", default=[], help="default: those of the config")
    parser.add_argument("--metric", default="recog/word_acc_ignore_case_symbol")
    args = parser.parse_args()
    rows = []
    for run in args.runs:
        name, _, folder = run.rpartition("=")
        row = describe(Path(folder), args.sets, args.metric)
        rows.append({"run": name or Path(folder).name, **row})
    print(tabulate(rows, headers="keys", tablefmt="pipe", disable_numparse=True))


if __name__ == "__main__":
    main()
