# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Print a Markdown table of the word accuracies of runs, from their logs."""

import argparse
import statistics

from mmdptr.extraction.arguments import exit_with_message
from mmdptr.visualization import read_curve


def last(work_dir: str, key: str) -> float:
    """Return the last value of a scalar.

    Raises:
        ValueError: The run has not logged it.
    """
    curve = read_curve(work_dir, key)
    if not curve:
        raise ValueError(f"{work_dir} has not logged {key!r}. Has its evaluation run?")
    return curve[-1][1]


@exit_with_message
def main() -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="NAME=WORK_DIR", help="row name and work dir")
    parser.add_argument("--sets", nargs="+", default=["IIIT5K", "SVT", "IC13", "IC15"])
    parser.add_argument("--metric", default="recog/word_acc_ignore_case_symbol")
    args = parser.parse_args()
    print(f"| run | {' | '.join(args.sets)} | average |")
    print(f"|---|{'---|' * (len(args.sets) + 1)}")
    for run in args.runs:
        name, _, folder = run.partition("=")
        values = [100 * last(folder, f"{data}/{args.metric}") for data in args.sets]
        cells = [f"{value:.1f}" for value in [*values, statistics.fmean(values)]]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
