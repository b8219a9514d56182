# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Our text-embedding store against LMDB, Arrow IPC and a flat memory map, in one run.

All hold the same memories: a label's pooled feature and as many own tokens as CLIP has for it, with
random features. They are built, opened and read in turn, several times; what counts are the
medians, and in brackets their ratio to ours. All files were just written, so that they are read
from the system's cache. A store is opened just after it was built, and again later: ours compares
all bytes with their checksums at first, then those of files that have changed.

Batches of random labels are collated into one tensor, as in stage 1. Memory is the most that a
fresh process gains while it opens a store and reads as many labels in such batches, the batches
included: its own (RssAnon) and, apart from it, pages of mapped files (RssFile), which the system
may take back.

A build is killed (SIGKILL) while it writes a shard, half-way; then the folder is opened, and built
again. In a finished store, one byte of a feature is overwritten. What a reader notices is found by
opening the store and reading all of it. (A disk that loses a bit changes no file's time: ours has
to be opened with ``verify_checksums='all'`` to find that later on.) Linux only.
"""

import argparse
import importlib.util
import multiprocessing
import os
import re
import shutil
import signal
import statistics
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from reporting import markdown, parse_arguments, write_report
from store_formats import ARROW, FORMATS, OURS, Content, Store, make_content
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

from mmdptr.datasets import LabelFilter, concat_collate, iter_corpus
from mmdptr.extraction.arguments import exit_with_message

# A process that has imported what takes seconds, and starts fresh ones.
FRESH = multiprocessing.get_context("forkserver")
FRESH.set_forkserver_preload(["mmdptr.datasets", "mmdptr.clip", "lmdb", "pyarrow"])

BATCH, WIDTH = 256, 512


class Samples(Dataset):
    """Reads a store that each process opens for itself: an open LMDB must not be forked."""

    def __init__(self, kind: type[Store], folder: Path, length: int) -> None:
        self.kind, self.folder, self.length = kind, folder, length
        self.store: Store | None = None

    def __len__(self) -> int:
        return self.length

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Return samples for :func:`concat_collate`."""
        self.store = self.store or self.kind(self.folder)
        memories = self.store.memories(indices)
        return [{"inputs": rows, "data_samples": len(rows)} for rows, _ in memories]

    def loader(self, batches: int, workers: int = 0) -> DataLoader:
        """Return a loader of random batches."""
        order = RandomSampler(self, replacement=True, num_samples=BATCH * batches)
        return DataLoader(
            self,
            batch_sampler=BatchSampler(order, BATCH, drop_last=False),
            num_workers=workers,
            persistent_workers=workers > 0,
            collate_fn=concat_collate,
        )


class Candidate:
    """A format, and what was measured of it: ``values``, by column.

    Args:
        name (str): Its name, from ``FORMATS``.
        folder (Path): Where its folders go.
        content (Content): What it holds.
    """

    def __init__(self, name: str, folder: Path, content: Content) -> None:
        self.name, self.kind, self.content = name, FORMATS[name], content
        self.folder, self.killed, self.small = (
            folder / f"{name}{which}" for which in ("", ", killed", ", small")
        )
        self.kind.build(self.small, make_content(["small"], 1, WIDTH))
        self.values: dict[str, list[float]] = defaultdict(list)

    def build(self) -> None:
        """Build the store anew, and open it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.values["build_s"].append(seconds(self.kind.build, self.folder, self.content))
        self.values["first_open_s"].append(seconds(self.kind, self.folder))
        size = sum(path.stat().st_size for path in self.folder.iterdir())
        self.values["kb_a_label"].append(size / len(self.content) / 1000)

    def open(self) -> None:
        """Open the store again, and read it in a fresh process."""
        self.values["open_s"].append(seconds(self.kind, self.folder))
        with ProcessPoolExecutor(1, FRESH) as fresh:
            small = Samples(self.kind, self.small, 1)
            peak = fresh.submit(peak_memory, self.samples(), small).result()
        self.values["own_mb"].append(peak["RssAnon"] * 1024 / 1e6)
        self.values["mapped_mb"].append(peak["RssFile"] * 1024 / 1e6)

    def samples(self) -> Samples:
        """Return its samples, not opened."""
        return Samples(self.kind, self.folder, len(self.content))

    def find_fault(self, folder: Path) -> str:
        """Open a store and read all; return what is noticed, or wrong without being noticed."""
        step = "does not open"
        try:
            store = self.kind(folder)
            step = "does not read"
            found = store.memories(range(len(store)))
        except Exception as error:  # each library raises its own
            return f"{step} ({type(error).__name__})"
        expected = self.content.memories()
        if len(found) != len(expected):
            return f"unnoticed; labels: {len(found)} of {len(expected)}"
        wrong = sum(
            not all(map(torch.equal, ours, theirs))
            for ours, theirs in zip(expected, found, strict=True)
        )
        return f"unnoticed; wrong labels: {wrong}" if wrong else ""

    def change_byte(self) -> str:
        """Change a byte of a label's features; return what a reader finds."""
        pooled = self.content.shards[len(self.content.shards) // 2].pooled[0].tobytes()
        for path in filter(Path.is_file, self.folder.iterdir()):
            data = bytearray(path.read_bytes())
            if (place := data.find(pooled)) >= 0:
                data[place + len(pooled) // 2] ^= 1
                path.write_bytes(data)
                return self.find_fault(self.folder)
        raise ValueError(f"No file of {self.name} holds the features that were written.")

    def kill(self) -> str:
        """Kill a build while it writes a shard; return what a reader and the next build find."""
        shards = len(self.content.shards)
        half, delay = (shards - 1) // 2, statistics.median(self.values["build_s"]) / shards / 2
        doomed = replace(self.content, watch=partial(kill_during, half, delay))
        child = FRESH.Process(target=self.kind.build, args=(self.killed, doomed))
        child.start()
        child.join()
        if child.exitcode != -signal.SIGKILL:
            raise RuntimeError(f"{self.name} ended with {child.exitcode}, not by SIGKILL.")
        found = self.find_fault(self.killed) or "complete"
        again: list[int] = []
        self.kind.build(self.killed, replace(self.content, watch=again.append))
        if fault := self.find_fault(self.killed):
            return f"{found}; built again: {fault}"
        return f"{found}; built again, keeps {shards - len(again)} of {half + 1} shards begun"


def seconds(function: Callable[..., object], *arguments: object) -> float:
    """Return the time of a call."""
    begin = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - begin


def exhaust(loader: DataLoader) -> None:
    """Read all batches."""
    for _ in loader:
        pass


def resident() -> Counter[str]:
    """Return this process's memory in kB, by kind."""
    status = Path("/proc/self/status").read_text()
    found = re.findall(r"(RssAnon|RssFile):\s+(\d+) kB", status)
    return Counter({kind: int(size) for kind, size in found})


def peak_memory(samples: Samples, small: Samples) -> Counter[str]:
    """Return what this process gains at most while it reads, in kB."""
    exhaust(small.loader(1))  # what the libraries themselves load at first use is not counted
    before, peak = resident(), Counter[str]()
    for _ in samples.loader(-(-len(samples) // BATCH)):
        peak |= resident() - before
    return peak


def kill_during(shard: int, delay: float, number: int) -> None:
    """Kill this process soon after a shard is asked for, and before the next one at the latest."""
    if number == shard:
        threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
    elif number > shard:
        os.kill(os.getpid(), signal.SIGKILL)


def measure_rates(
    candidates: Sequence[Candidate], batches: int, workers: int, repeats: int
) -> None:
    """Read all stores in turn."""
    loaders = [candidate.samples().loader(batches, workers) for candidate in candidates]
    for loader in loaders:
        exhaust(loader)  # starts the workers, which open the store
    for _ in range(repeats):
        for candidate, loader in zip(candidates, loaders, strict=True):
            rate = BATCH * batches / seconds(exhaust, loader)
            candidate.values[f"labels_a_s_{workers}"].append(rate)


def compare(
    candidates: Sequence[Candidate], batches: int, workers: Sequence[int], repeats: int
) -> list[dict[str, Any]]:
    """Measure all formats in turn; a row each."""
    for _ in range(repeats):
        for candidate in candidates:
            candidate.build()
    for candidate in candidates:
        if fault := candidate.find_fault(candidate.folder):
            raise ValueError(f"{candidate.name} does not hold what was written: {fault}.")
    for _ in range(repeats):
        for candidate in candidates:
            candidate.open()
    for count in workers:
        measure_rates(candidates, batches, count, repeats)
    return [
        {
            "format": candidate.name,
            **{key: statistics.median(column) for key, column in candidate.values.items()},
            "killed_half_way": candidate.kill(),
            "changed_byte": candidate.change_byte(),
            "repeats": candidate.values,
        }
        for candidate in candidates
    ]


def table(rows: Sequence[dict[str, Any]], workers: Sequence[int]) -> str:
    """Lay out a Markdown table with ratios to the first row."""
    columns = {
        "kb_a_label": ("kB a label", ".2f"),
        "build_s": ("build, s", ".2f"),
        "first_open_s": ("open first, s", ".4f"),
        "open_s": ("open again, s", ".4f"),
        **{f"labels_a_s_{x}": (f"labels/s, {x} workers", ",.0f") for x in workers},
    }
    memory = {"own_mb": "own memory, MB", "mapped_mb": "mapped, MB"}
    tests = {"killed_half_way": "killed half-way", "changed_byte": "changed byte"}
    return markdown(
        [
            {"format": row["format"]}
            | {
                name: f"{row[key]:{spec}} ({row[key] / rows[0][key]:.2g})"
                for key, (name, spec) in columns.items()
            }
            | {name: f"{row[key]:.1f}" for key, name in memory.items()}
            | {name: row[key] for key, name in tests.items()}
            for row in rows
        ]
    )


@exit_with_message
def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", help="word list, e.g. en_vocabulary_90k.txt")
    parser.add_argument("--labels", type=int, default=20000, help="default: %(default)s")
    parser.add_argument("--shard-size", type=int, default=1024, help="labels; default: %(default)s")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2, 4])
    parser.add_argument("--batches", type=int, default=50, help="of 256 labels, a repeat")
    parser.add_argument("--repeats", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; default: the system's")
    args = parse_arguments(parser)
    names = list(dict.fromkeys([OURS, *args.formats]))
    if ARROW in names and importlib.util.find_spec("pyarrow") is None:
        raise ValueError(f"{ARROW} needs pyarrow: pip install pyarrow, or leave it out (--formats)")
    torch.manual_seed(0)
    words = [word for word in LabelFilter()(iter_corpus(args.corpus)) if " " not in word]
    labels = words[:: max(1, len(words) // args.labels)][: args.labels]
    if len(labels) <= args.shard_size:
        raise ValueError(
            f"Found {len(labels)} labels for shards of {args.shard_size}, expected two shards at "
            "least: a build is killed between. Give more labels, or a smaller --shard-size."
        )
    content = make_content(labels, args.shard_size, WIDTH)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        candidates = [Candidate(name, Path(folder), content) for name in names]
        rows = compare(candidates, args.batches, args.workers, args.repeats)
    print(table(rows, args.workers))
    tokens = sum(len(shard.tokens) for shard in content.shards)
    per_label = round(tokens / len(labels), 2)
    about = {"own_tokens_per_label": per_label, "width": WIDTH, "batch": BATCH}
    packages = ["pyarrow", "lmdb"] if ARROW in names else ["lmdb"]
    versions = {package: version(package) for package in packages}
    write_report(args.json, rows, labels=len(labels), **about, **versions)


if __name__ == "__main__":
    main()
