# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Write the annotations of protocol real-7k: train on 6,725 real crops, test on four sets.

The data root holds one folder a set (iiit5k, icdar2013, icdar2015, svt), each with
labels_<split>.jsonl of one {"filename": ..., "text": ...} a line. Images stay where they are. IC13
is the 1015-image protocol: lines marked "in_1015". For choices, which must never be made on the
test sets, 5 % of the training crops are also written apart (choice_val.jsonl; the rest is
choice_train.jsonl). For training on few, train_500.jsonl and train_2000.jsonl hold as many of them,
drawn at random, the smaller within the larger; choice_500.jsonl has 500 of choice_train.jsonl. With
--rendered, train_rendered.jsonl holds the training crops and the words that tools/render_words.py
drew.
"""

import argparse
import random
from pathlib import Path

from annotations import read, write

from mmdptr.extraction.arguments import exit_with_message

TRAIN = ("iiit5k", "icdar2015", "svt")
FEW = (500, 2000)
TEST = {"iiit5k": "iiit5k", "svt": "svt", "ic13": "icdar2013", "ic15": "icdar2015"}


@exit_with_message
def main() -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="folder with one folder a set")
    parser.add_argument(
        "--out", type=Path, default=Path("data/real7k"), help="default: %(default)s"
    )
    parser.add_argument("--rendered", type=Path, help="folder that render_words.py has written")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    files = [args.root / name / "labels_train.jsonl" for name in TRAIN]
    train = [entry for file in files for entry in read(file, args.out)]
    held_out = set(random.Random(0).sample(range(len(train)), len(train) // 20))
    write(args.out / "train.jsonl", train)
    rest = [e for i, e in enumerate(train) if i not in held_out]
    write(args.out / "choice_train.jsonl", rest)
    write(args.out / "choice_500.jsonl", random.Random(1).sample(rest, min(FEW[0], len(rest))))
    write(args.out / "choice_val.jsonl", [e for i, e in enumerate(train) if i in held_out])
    shuffled = random.Random(1).sample(train, len(train))
    for count in FEW:
        write(args.out / f"train_{count}.jsonl", shuffled[:count])
    for short, name in TEST.items():
        entries = read(args.root / name / "labels_test.jsonl", args.out)
        entries = [entry for entry in entries if entry.get("in_1015", True)]
        write(args.out / f"test_{short}.jsonl", entries)
    if args.rendered:
        rendered = read(args.rendered / "train.jsonl", args.out)
        write(args.out / "train_rendered.jsonl", [*train, *rendered])


if __name__ == "__main__":
    main()
