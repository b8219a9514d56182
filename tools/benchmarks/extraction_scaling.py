# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""What a label costs to extract, from ten thousand labels to a million, and on paper many more.

Corpora of made-up words are extracted by fresh processes with a text tower so small (one layer, 64
wide) that what is left is our own work: reading, filtering and deduplicating; tokenizing, batching
and writing. CPU time says more than wall time where the machine is shared. Memory is the process's
own (RssAnon) at its peak. Two things in it grow with the corpus until they are full: digests of the
labels seen (in memory up to 4 million of them) and the tokenizer's cache (a million words).

Words are syllables in a row, of English words' length; CLIP's tokenizer cuts them into 5.5 pieces,
the end included, and English words into 4.4. The words of a corpus are the first ones of any larger
corpus.

The last table carries the largest corpus on to a real one, a real tower and given hardware, on
paper: the measured work a label, here in CPU time; the bytes that wider rows have more, at the rate
at which a process packs, hashes and writes them (``reading.py`` builds its store like that); the
tower's floating-point operations at the rate a GPU reaches; bytes through a network. Nothing of it
was measured at that size: more than 4 million labels are deduplicated on disk, and that costs more
the more there are. Linux only.

Runs that ``--json`` holds are not repeated: a benchmark that was interrupted goes on with the next.
"""

import argparse
import json
import random
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import open_clip
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from reporting import markdown, write_report
from safetensors import safe_open
from stores import FRESH, resident
from text_encoding import operations

from mmdptr.clip import CLIPTextEncoder, load_clip
from mmdptr.clip.text_encoder import TextFeatures
from mmdptr.datasets import LabelFilter
from mmdptr.extraction import extract_text_embeddings
from mmdptr.extraction.arguments import exit_with_message

TOWER = "mmdptr-scaling"
WIDTH = 64
TOWER_CONFIG = {
    "embed_dim": WIDTH,
    "vision_cfg": {"image_size": 32, "patch_size": 32, "layers": 1, "width": WIDTH},
    "text_cfg": {"context_length": 77, "width": WIDTH, "heads": 1, "layers": 1},
}
ID_BYTES = SCALE_BYTES = 4
"""int: What a row of a store has besides its features: a token id and, with int8, a scale."""

ONSETS = "b c d f g h j k l m n p r s t v w bl br ch cl cr dr fl fr gl gr pl pr"
CODAS = ("", "l", "n", "r", "s")
SYLLABLES = [x + vowel + coda for x in ONSETS.split() for vowel in "aeiou" for coda in CODAS]
PRIME = 2_654_435_761

WARM_UP = 4096
"""int: Words that are encoded before the corpus; the tokenizer's own rate is that of these."""
SECONDS_A_SAMPLE = 0.02


def pseudo_words(seed: int = 0) -> Iterator[str]:
    """Yield different words without end, the same ones for a seed; nothing grows in memory.

    A third has two syllables, the others three. Words of one length are numbered, and the next is
    the one that stands ``PRIME`` further on: that meets all of them before one comes again. No two
    rows of syllables read the same, for no coda begins a cluster. When all words of two syllables
    have come, in 1.6 million words, longer ones take their place.
    """
    rng, numbers = random.Random(seed), Counter[int]()
    while True:
        length = rng.choice((2, 3, 3))
        while numbers[length] == len(SYLLABLES) ** length:
            length += 1
        number = (numbers[length] + seed + 1) * PRIME % len(SYLLABLES) ** length
        numbers[length] += 1
        word = ""
        for _ in range(length):
            number, syllable = divmod(number, len(SYLLABLES))
            word += SYLLABLES[syllable]
        yield word


class PeakMemory(threading.Thread):
    """Samples this process's own memory (RssAnon) as long as the context lasts.

    Attributes:
        start_mb (float): What there was before.
        peak_mb (float): The most that was found.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.start_mb = self.peak_mb = own_memory()
        self._done = threading.Event()

    def run(self) -> None:
        """Sample until the end."""
        while not self._done.wait(SECONDS_A_SAMPLE):
            self.peak_mb = max(self.peak_mb, own_memory())

    def __enter__(self) -> "PeakMemory":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self.join()


def own_memory() -> float:
    """Return what this process holds itself, in MB."""
    return resident()["RssAnon"] * 1024 / 1e6


def clock() -> tuple[float, float]:
    """Return wall time and this process's CPU time, in seconds."""
    return time.perf_counter(), time.process_time()


class TimedFilter(LabelFilter):
    """Notes when the last label has been read."""

    def __call__(self, labels: Iterable[str]) -> Iterator[str]:
        """Filter a stream of labels."""
        yield from super().__call__(labels)
        self.end = clock()


def load_tower(folder: Path) -> CLIPTextEncoder:
    """Return the small text tower, with random weights."""
    config = folder / f"{TOWER}.json"
    config.write_text(json.dumps(TOWER_CONFIG))
    open_clip.add_model_config(config)
    return CLIPTextEncoder(load_clip(TOWER, "random"))


def measure(folder: Path, number: int, seed: int, shard_size: int, threads: int) -> dict[str, Any]:
    """Extract a corpus of so many labels; the process should be a fresh one.

    Args:
        folder (Path): An empty folder.
        number (int): Labels.
        seed (int): Of the words.
        shard_size (int): Labels a shard.
        threads (int): CPU threads.

    Returns:
        dict[str, Any]: What was measured: times in microseconds a label, memory in MB.
    """
    torch.set_num_threads(threads)
    encoder = load_tower(folder)
    corpus, store, label_filter = folder / "words.txt", folder / "store", TimedFilter()
    words = pseudo_words(seed)
    with corpus.open("w") as file:
        file.writelines(f"{word}\n" for word in islice(words, number))
    others = list(islice(words, WARM_UP))  # the tokenizer is to meet all for the first time
    start = clock()
    sentences = [encoder.tokenize(label) for label in others]
    tokenized = clock()
    encoder.encode_ids(sentences)
    with PeakMemory() as memory:
        begin = clock()
        extract_text_embeddings([corpus], store, encoder, label_filter, shard_size)
        end = clock()
    phases = {
        "tokenizing": (start, tokenized, WARM_UP),
        "reading": (begin, label_filter.end, number),
        "encoding": (label_filter.end, end, number),
        "whole": (begin, end, number),
    }
    times = {
        f"{phase}_{kind}_us": 1e6 * (after - before) / labels
        for phase, (befores, afters, labels) in phases.items()
        for kind, before, after in zip(("wall", "cpu"), befores, afters, strict=True)
    }
    return {
        "labels": number,
        **times,
        "start_mb": memory.start_mb,
        "peak_mb": memory.peak_mb,
        "bytes_a_label": sum(path.stat().st_size for path in store.iterdir()) / number,
        "rows_a_label": count_rows(store) / number,
    }


def count_rows(store: Path) -> int:
    """Return how many rows of features the labels of a store have."""
    total = 0
    for path in store.glob("labels-*.safetensors"):
        with safe_open(path, "np") as shard:
            total += shard.get_slice("features").get_shape()[0]
    return total


def read_runs(path: Path | None, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the runs that an earlier call has written.

    Raises:
        ValueError: They were measured with other settings.
    """
    if path is None or not path.exists():
        return []
    report = json.loads(path.read_text())
    found = {key: report["about"].get(key) for key in settings}
    if found != settings:
        raise ValueError(
            f"{path} was measured with {found}, expected {settings}. Give another --json, or "
            "delete that one."
        )
    return report["rows"]


def measure_apart(number: int, args: argparse.Namespace) -> dict[str, Any]:
    """Run :func:`measure` in a fresh process and folder."""
    with (
        tempfile.TemporaryDirectory(dir=args.folder) as folder,
        ProcessPoolExecutor(1, FRESH) as fresh,
    ):
        settings = (args.seed, args.shard_size, torch.get_num_threads())
        return fresh.submit(measure, Path(folder), number, *settings).result()


def measure_missing(args: argparse.Namespace, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Measure the runs that are missing, write each as soon as it is there, and return all."""
    runs = read_runs(args.json, settings)
    for repeat in range(args.repeats):
        for number in args.sizes:
            if sum(run["labels"] == number for run in runs) > repeat:
                continue
            runs.append(measure_apart(number, args))
            if args.json:
                partial = args.json.with_name(f"{args.json.name}.partial")
                write_report(partial, runs, **settings)
                partial.replace(args.json)
    return runs


def summarize(runs: Sequence[dict[str, Any]], sizes: Iterable[int]) -> list[dict[str, Any]]:
    """Return the medians of each size's runs."""
    chosen = ([run for run in runs if run["labels"] == size] for size in sorted(set(sizes)))
    return [
        {key: statistics.median(run[key] for run in group) for key in group[0]} for group in chosen
    ]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Lay out the medians in Markdown."""
    phases = {
        "reading": "reading, µs a label: CPU (wall)",
        "encoding": "encoding, writing",
        "whole": "whole",
    }
    return markdown(
        [
            {
                "labels": f"{row['labels']:,}",
                **{
                    name: f"{row[f'{phase}_cpu_us']:.1f} ({row[f'{phase}_wall_us']:.1f})"
                    for phase, name in phases.items()
                },
                "labels/s": f"{1e6 / row['whole_wall_us']:,.0f}",
                "memory at first, MB": f"{row['start_mb']:.0f}",
                "at its peak": f"{row['peak_mb']:.0f}",
                "kB a label": f"{row['bytes_a_label'] / 1000:.3f}",
            }
            for row in rows
        ]
    )


def draw(runs: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]) -> Figure:
    """Draw costs and memory against labels: lines through the medians, a dot a run."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    panels = {
        "microseconds a label": {
            "wall time": "whole_wall_us",
            "CPU time": "whole_cpu_us",
            "of which reading and filtering": "reading_cpu_us",
        },
        "own memory of the process, MB": {"peak": "peak_mb", "before": "start_mb"},
    }
    sizes = [row["labels"] for row in rows]
    shown = [run for run in runs if run["labels"] in sizes]
    for axis, (title, curves) in zip(axes, panels.items(), strict=True):
        for name, key in curves.items():
            (line,) = axis.plot(sizes, [row[key] for row in rows], label=name)
            dots = [run["labels"] for run in shown], [run[key] for run in shown]
            axis.scatter(*dots, s=12, color=line.get_color())
        highest = max(run[key] for run in shown for key in curves.values())
        axis.set(xlabel="labels", xscale="log", ylim=(0, 1.4 * highest))  # room for the legend
        axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axis.minorticks_off()
        axis.set_title(title, fontsize=10)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, loc="upper left")
    return figure


def extrapolate(row: dict[str, Any], args: argparse.Namespace) -> list[list[str]]:
    """Carry a measured row on to a larger corpus.

    Args:
        row (dict): The medians of the largest corpus.
        args (argparse.Namespace): The assumptions.

    Returns:
        list[list[str]]: What it is, with one GPU, with ``args.gpus``; each has a process.
    """
    encoder = CLIPTextEncoder(load_clip(args.target, "random"))
    lengths, prefix = torch.tensor([args.tokens]), torch.tensor([len(encoder.prefix_ids)])
    nothing = torch.empty(0)
    flop = operations(encoder, TextFeatures(nothing, nothing, lengths, prefix, nothing))
    encoding = flop / args.tflops / 1e12
    tokenizing, reading, work = (
        row[f"{phase}_cpu_us"] / 1e6 for phase in ("tokenizing", "reading", "encoding")
    )

    width, slots = encoder.token_width, 1 + args.tokens
    index = row["bytes_a_label"] - row["rows_a_label"] * (2 * WIDTH + ID_BYTES)
    row_bytes = {"float16": 2 * width + ID_BYTES, "int8": width + ID_BYTES + SCALE_BYTES}
    more = slots * row_bytes["float16"] + index - row["bytes_a_label"]
    writing = max(0, more) / args.write / 1e9

    def hours(shared: float, alone: float = 0) -> list[str]:
        processes = (1, args.gpus)
        return [f"{(alone + shared / x) * args.target_labels / 3600:.2f} h" for x in processes]

    lines = [
        ["reading and filtering, by the first process", *hours(0, reading)],
        ["tokenizing, batching and writing", *hours(work)],
        [f"- of which tokenizing, {1 / tokenizing:,.0f} labels/s a process", *hours(tokenizing)],
        [f"writing {more / 1000:.2f} kB more at {args.write:g} GB/s a process", *hours(writing)],
        [f"encoding, {flop / 1e9:.2f} GFLOP a label", *hours(encoding)],
        ["all of it, nothing at the same time", *hours(work + writing + encoding, reading)],
    ]
    for kind, size in row_bytes.items():
        label = slots * size + index
        total = label * args.target_labels
        network = f"{8 * total / args.gbit / 1e9 / 3600:.2f} h"
        lines.append(
            [f"disk, {kind}, {label / 1000:.2f} kB a label", *[f"{total / 1e9:,.0f} GB"] * 2]
        )
        lines.append([f"- copied at {args.gbit:g} Gbit/s", *[network] * 2])
    return lines


@exit_with_message
def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    sizes = [10_000, 30_000, 100_000, 300_000, 1_000_000]
    parser.add_argument("--sizes", type=int, nargs="+", default=sizes, help="labels a corpus")
    parser.add_argument("--repeats", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--shard-size", type=int, default=4096, help="labels; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the words")
    parser.add_argument("--threads", type=int, help="default: PyTorch's choice")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; default: the system's")
    parser.add_argument("--json", type=Path, help="keep all runs here, and go on with them")
    parser.add_argument("--plot", type=Path, help="also draw a picture here")
    paper = parser.add_argument_group("on paper")
    paper.add_argument("--target-labels", type=int, default=100_000_000)
    paper.add_argument("--target", default="ViT-B-16", help="CLIP; default: %(default)s")
    paper.add_argument("--tokens", type=float, default=4.5, help="of a label; English: %(default)s")
    paper.add_argument("--gpus", type=int, default=8, help="default: %(default)s")
    paper.add_argument("--gpu", default="A100 (312 TFLOP/s in bf16)", help="default: %(default)s")
    paper.add_argument("--tflops", type=float, default=100, help="reached; default: %(default)s")
    paper.add_argument("--write", type=float, default=0.1, help="GB/s; default: %(default)s")
    paper.add_argument("--gbit", type=float, default=10, help="a second; default: %(default)s")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    settings = {
        "tower": TOWER_CONFIG,
        "seed": args.seed,
        "shard_size": args.shard_size,
        "threads": torch.get_num_threads(),
    }
    runs = measure_missing(args, settings)
    rows = summarize(runs, args.sizes)
    print(table(rows))
    if args.plot:
        args.plot.parent.mkdir(parents=True, exist_ok=True)
        draw(runs, rows).savefig(args.plot, dpi=150)
    heads = (
        f"{args.target_labels:,} labels of {args.tokens:g} tokens, {args.target}",
        f"1 {args.gpu} at {args.tflops:g} TFLOP/s",
        f"{args.gpus} of them",
    )
    lines = extrapolate(rows[-1], args)
    print(f"\n{markdown([dict(zip(heads, line, strict=True)) for line in lines])}")


if __name__ == "__main__":
    main()
