# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Split few labelled crops into folds, so that each is tested once and never by what it taught.

For each fold <i>, <i>_train.jsonl and <i>_test.jsonl are written to the folder; the images stay
where they are. Which fold a crop is in depends on the annotations alone. Crops of one photograph
are too much alike to stand on both sides: --group names the field of the annotations that says
which belong together. With --rendered, the words that tools/render_words.py drew are added to every
training file, and the crops stand there as often as --share says, for they are few.

Example:
    python tools/prepare_folds.py mtwi_zh/labels_all.jsonl --group scene --out data/chinese
"""

import argparse
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from annotations import read, write

from mmdptr.extraction.arguments import exit_with_message


def split(
    entries: Sequence[dict[str, Any]], folds: int, group: str | None
) -> list[list[dict[str, Any]]]:
    """Deal groups of crops, the largest first, each to the fold that has the fewest.

    Raises:
        ValueError: There are fewer groups than folds, or a crop lacks the field of the group.
    """
    groups = defaultdict(list)
    for number, entry in enumerate(entries):
        if group is not None and group not in entry:
            raise ValueError(
                f"{entry['filename']} has the fields {sorted(entry)}, expected --group {group!r} "
                "among them."
            )
        groups[str(number if group is None else entry[group])].append(entry)
    if not 2 <= folds <= len(groups):
        raise ValueError(
            f"Found {len(groups)} crops or groups for --folds {folds}, expected 2 folds or more "
            "and a group for each."
        )

    def order(name: str) -> tuple[int, str]:
        return -len(groups[name]), hashlib.sha256(name.encode()).hexdigest()

    dealt: list[list[dict[str, Any]]] = [[] for _ in range(folds)]
    for name in sorted(groups, key=order):
        min(dealt, key=len).extend(groups[name])
    return dealt


def mix(
    crops: Sequence[dict[str, Any]], rendered: Sequence[dict[str, Any]], share: float
) -> list[dict[str, Any]]:
    """Join crops and rendered words, with the crops repeated until they are a share of all.

    Raises:
        ValueError: The share is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise ValueError(f"--share is {share}, expected more than 0 and less than 1.")
    times = round(share / (1 - share) * len(rendered) / len(crops))
    return [*crops] * max(times, 1) + [*rendered]


@exit_with_message
def main() -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("annotations", type=Path, help="jsonl file of filename and text")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--folds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--group", help="field of crops that stay together")
    parser.add_argument("--rendered", type=Path, help="folder that render_words.py has written")
    parser.add_argument(
        "--share",
        type=float,
        default=0.5,
        help="of the crops among rendered words; default: %(default)s",
    )
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    folds = split(read(args.annotations, args.out), args.folds, args.group)
    rendered = read(args.rendered / "train.jsonl", args.out) if args.rendered else []
    for i, test in enumerate(folds):
        others = [entry for fold in folds if fold is not test for entry in fold]
        write(args.out / f"{i}_train.jsonl", mix(others, rendered, args.share))
        write(args.out / f"{i}_test.jsonl", test)


if __name__ == "__main__":
    main()
