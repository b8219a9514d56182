# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Make a dictionary for MMOCR from word lists or the labels of a dataset.

It is a file of one character a line, by code points. With --clusters, letters and their combining
marks are one class where that is frequent, as scripts such as Devanagari, Bengali, Thai and Tamil
are read: name mmdptr's GraphemeDictionary as the type of the dictionary then. What the dictionary
holds, which of its characters look alike, and what is lost to the threshold is printed.

Example:
    python tools/build_dictionary.py words.txt train.jsonl --min-count 5 --out dict.txt
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

from tabulate import tabulate
from tqdm import tqdm

from mmdptr.datasets.corpora import iter_corpora
from mmdptr.datasets.label_filter import LabelFilter
from mmdptr.extraction.arguments import add_label_arguments, exit_with_message, label_options
from mmdptr.writing import DictionaryDraft, characters_of, draft_dictionary

SHOWN = 20


def shown(items: Iterable[str]) -> str:
    """Write the first of some items, and how many there are more."""
    items = list(items)
    more = f" and {len(items) - SHOWN:,} more" if len(items) > SHOWN else ""
    return ", ".join(items[:SHOWN]) + more


def describe(draft: DictionaryDraft) -> str:
    """Say what a dictionary holds and lacks."""
    scripts = [{"script": name, "classes": n} for name, n in draft.scripts().most_common()]
    seen = {unit: count for unit, count in draft.kept.items() if count}  # not what --always adds
    rare = sorted(seen.items(), key=lambda item: item[1])
    lines = [
        tabulate(scripts, headers="keys", tablefmt="pipe"),
        "",
        f"Rarest: {shown(f'{unit!r} ({count:,})' for unit, count in rare)}",
    ]
    if pairs := draft.confusables():
        lines.append(f"They look alike: {shown(f'{a!r} and {b!r}' for a, b in pairs)}")
    if draft.dropped:
        dropped = (f"{unit!r} ({count:,})" for unit, count in draft.dropped.items())
        lines.append(f"Left out: {shown(dropped)}")
        share = draft.lost / draft.labels
        lines.append(
            f"{draft.lost:,} of {draft.labels:,} labels ({share:.2%}) hold one of them, such as "
            f"{', '.join(map(repr, draft.examples))}"
        )
    lines.append(f"The longest label has {draft.longest} classes.")
    return "\n".join(lines)


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("corpora", nargs="+", help="word lists, annotation files, LMDB folders")
    add("--out", type=Path, required=True, help="the dictionary file")
    add("--min-count", type=int, default=1, help="of a class in all labels; default: %(default)s")
    add("--clusters", action="store_true", help="let grapheme clusters be classes")
    add("--always", default="", help="characters that are classes in any case, '0123456789'")
    add("--scripts", nargs="+", default=[], help="no others: Bengali, Latin, Common, ...")
    add("--whole-scripts", nargs="+", default=[], help="all letters, marks and digits of: Telugu")
    add_label_arguments(parser)
    return parser.parse_args()


@exit_with_message
def main() -> None:
    """Run the tool."""
    args = parse_args()
    label_filter = LabelFilter(max_length=None, **label_options(args))
    labels = label_filter(tqdm(iter_corpora(args.corpora), desc="Reading", unit="label"))
    whole = (x for script in args.whole_scripts for x in characters_of(script))
    always = {*args.always, *(x for x in whole if label_filter.normalise(x) == x)}
    draft = draft_dictionary(labels, args.min_count, args.clusters, always, args.scripts)
    if not draft.kept:
        raise ValueError(
            f"No class is left of {draft.labels:,} labels, such as {draft.examples[0]!r}. Lower "
            "--min-count, or name other --scripts."
        )
    description = describe(draft)  # before anything is written: a package may be missing
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text("".join(f"{unit}\n" for unit in draft.kept), encoding="utf-8")
    print(label_filter.report)
    print(description)
    print(f"{args.out}: {len(draft.kept)} classes.")


if __name__ == "__main__":
    main()
