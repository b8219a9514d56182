# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Labels a second that one process reads from a large store, its memory, and what training takes.

The store holds made-up words with random features of ViT-B/16's width, and 4.5 own tokens a label,
as English words have. It stays in ``folder``: a build that was interrupted goes on, a finished
store is read again. A fresh process opens it as training does, checksums included, and reads
batches of random labels with ORP's noise, packed and collated, in the training process itself
(``num_workers=0``). It reads them twice. What the first pass finds in the system's page cache is
the machine's affair, and what it has to read from the disk is reported; the second finds all, if
the machine has room for it.

Memory is the process's own (RssAnon) and pages of mapped files (RssFile), which the system may take
back; without workers, which need shared memory, both together are the resident set (VmRSS). Of the
mapped files, those of the store and of the bank are told apart: the rest are libraries.

Then decoders take training steps of stage 1 on batches of the same store that are in memory
already: that with most parameters among our recognizers, and NRTR's. Rates are medians, those of
reading over blocks of batches. Linux only.
"""

import argparse
import re
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from extraction_scaling import pseudo_words
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmocr.registry import MODELS
from reporting import markdown, parse_arguments, write_report
from stage1 import IMAGE_TOKENS, Way, load_recognizer, stage1_config
from stores import BATCH, FRESH, WIDTH, resident
from torch.utils.data import DataLoader, RandomSampler
from tqdm import tqdm, trange

from mmdptr.datasets import TextEmbeddingDataset, concat_collate
from mmdptr.embeddings import ORPBank, ORPBankWriter, TextEmbeddingStore, TextEmbeddingWriter
from mmdptr.engine.pretrain_config import config_folder
from mmdptr.extraction.arguments import exit_with_message

SHARD_SIZE = 4096
OWN_TOKENS = (3, 4, 5, 6)
PREFIX_TOKENS = 7
LABEL_BYTES = (1 + sum(OWN_TOKENS) / len(OWN_TOKENS)) * (2 * WIDTH + 4) + 26
"""float: Features and ids, and what says where a label lies and reads."""
CLIP = {"model": "none", "pretrained": "random features", "weights_sha256": "none"}
IMAGES = 500
"""int: Of the bank; BSDS500, a usual choice, has as many."""
BLOCK = 50


def build_store(folder: Path, gigabytes: float) -> None:
    """Write a store of made-up labels and random features, or what is missing of it."""
    shards = max(1, round(gigabytes * 1e9 / LABEL_BYTES / SHARD_SIZE))
    source = {"clip": CLIP, "keep_padding": False, "shards": shards, "shard_size": SHARD_SIZE}
    words, longest, characters = pseudo_words(), 0, set[str]()
    torch.manual_seed(0)
    pooled = torch.randn(SHARD_SIZE, WIDTH).half()
    tokens = torch.randn(SHARD_SIZE * max(OWN_TOKENS), WIDTH).half()  # those of any shard
    with TextEmbeddingWriter(folder, source) as writer:
        if writer.complete:
            return
        for number in trange(shards, desc="Building", unit="shard"):
            labels = list(islice(words, SHARD_SIZE))
            longest = max(longest, *map(len, labels))
            characters.update(*labels)
            name = f"labels-{number:05d}"
            if writer.has(name):
                continue
            lengths = torch.tensor(OWN_TOKENS)[torch.randint(len(OWN_TOKENS), (SHARD_SIZE,))]
            own = int(lengths.sum())
            prefixes = torch.full((SHARD_SIZE,), PREFIX_TOKENS)
            ids = torch.randint(49408, (own,))
            writer.add_labels(name, labels, pooled, tokens[:own], lengths, prefixes, ids)
        writer.add_prefix(torch.zeros(PREFIX_TOKENS, WIDTH), torch.arange(PREFIX_TOKENS))
        writer.finish(
            num_labels=shards * SHARD_SIZE,
            max_label_length=longest,
            characters="".join(sorted(characters)),
        )


def build_bank(folder: Path) -> None:
    """Write a bank of random features, if it is not there."""
    with ORPBankWriter(folder, {"clip": CLIP, "images": IMAGES}) as writer:
        if not writer.complete:
            writer.add_images("images-00000", torch.randn(IMAGES, IMAGE_TOKENS, WIDTH))
            writer.finish(num_images=IMAGES)


def memory(store: Path, bank: Path) -> dict[str, float]:
    """Return this process's memory in MB, that of the store's and the bank's files apart."""
    found = {**resident(), "VmRSS": resident().total()}
    smaps = Path("/proc/self/smaps").read_text()
    for name, folder in (("store", store), ("bank", bank)):
        entry = rf"{re.escape(str(folder.resolve()))}/.*\n(?:\w+:.*\n)*?Rss:\s+(\d+) kB"
        found[name] = sum(map(int, re.findall(entry, smaps)))
    return {f"{kind}_mb": size * 1024 / 1e6 for kind, size in found.items()}


@contextmanager
def watched(row: dict[str, Any]) -> Iterator[None]:
    """Note in a row how long something took, and what it read from the disk."""
    begin, before = time.perf_counter(), disk_mb()
    yield
    row |= {"seconds": time.perf_counter() - begin, "disk_mb": disk_mb() - before}


def disk_mb() -> float:
    """Return what this process has read from the disk, in MB."""
    found = re.search(r"^read_bytes: (\d+)", Path("/proc/self/io").read_text(), re.MULTILINE)
    return int(found[1]) / 1e6 if found else 0.0


def open_dataset(store: Path, bank: Path) -> TextEmbeddingDataset:
    """Open a store as training does."""
    pipeline = [{"type": "ORP", "bank": str(bank)}, {"type": "PackTextEmbeddings"}]
    return TextEmbeddingDataset(str(store), pipeline)


def load(dataset: TextEmbeddingDataset, batches: int) -> DataLoader:
    """Return a loader of batches of random labels, always the same ones."""
    generator = torch.Generator().manual_seed(0)
    order = RandomSampler(dataset, True, BATCH * batches, generator)
    return DataLoader(dataset, BATCH, sampler=order, collate_fn=concat_collate)


def read(folder: Path, batches: int, threads: int) -> list[dict[str, Any]]:
    """Open a store and read batches of it twice; the process should be a fresh one.

    Args:
        folder (Path): Has the store, a small one to begin with, and the bank.
        batches (int): How many, of ``BATCH`` random labels.
        threads (int): CPU threads.

    Returns:
        list[dict]: A row for the start, the opening and each pass: its time, MB from the disk and
        memory at its end; of a pass also the rate and the resident set of each block.
    """
    torch.set_num_threads(threads)
    init_default_scope("mmocr")
    store, small, bank = (folder / name for name in ("store", "small", "bank"))
    for _ in load(open_dataset(small, bank), 2):
        pass  # what the libraries load at first use is not counted
    rows: list[dict[str, Any]] = [{"step": "start", **memory(store, bank)}, {"step": "opening"}]
    with watched(rows[-1]):
        dataset = open_dataset(store, bank)
    rows[-1] |= memory(store, bank)
    for step in ("reading", "reading the same again"):
        rates: list[float] = []
        blocks: list[float] = []
        rows.append({"step": step, "rates": rates, "blocks_mb": blocks})
        with watched(rows[-1]):
            left = iter(tqdm(load(dataset, batches), desc=step.capitalize(), unit="batch"))
            begin = time.perf_counter()
            while labels := sum(len(x["data_samples"]) for x in islice(left, BLOCK)):
                rates.append(labels / (time.perf_counter() - begin))
                blocks.append(resident().total() * 1024 / 1e6)
                begin = time.perf_counter()
        rows[-1] |= {"labels_per_s": statistics.median(rates), **memory(store, bank)}
    return rows


def decoder_parameters(config: Path) -> int:
    """Return how many parameters the decoder of a recognizer has."""
    decoder = MODELS.build(load_recognizer(config)["decoder"])
    return sum(parameter.numel() for parameter in decoder.parameters())


def largest_recognizer() -> Path:
    """Return the config of that of our recognizers whose decoder has most parameters."""
    return max(sorted(config_folder().glob("dptr_*.py")), key=decoder_parameters)


def consume(
    config: Path, store: TextEmbeddingStore, bank: ORPBank, batch: int, steps: int
) -> dict[str, Any]:
    """Train the decoder of a recognizer for some steps, each on a batch of its own.

    Args:
        config (Path): Of the recognizer.
        store (TextEmbeddingStore): Gives the batches.
        bank (ORPBank): Their noise.
        batch (int): Labels a batch.
        steps (int): Steps that count; one more comes before.

    Returns:
        dict: A row of the table.
    """
    recognizer = load_recognizer(config)
    cfg = stage1_config(recognizer, store, bank, batch)
    batches = list(islice(Runner.build_dataloader(cfg.train_dataloader), 1 + steps))
    way = Way(MODELS.build(cfg.model), iter(batches), cfg.optim_wrapper)
    way.seconds(1)  # warms up
    rates = [batch / way.seconds(1) for _ in range(steps)]
    return {
        "recognizer": config.stem,
        "decoder": recognizer["decoder"]["type"],
        "parameters": decoder_parameters(config),
        "labels_per_s": statistics.median(rates),
        "rates": rates,
    }


def reading_table(rows: Sequence[dict[str, Any]]) -> str:
    """Lay out time and memory of reading in Markdown."""
    columns = {
        "seconds": "s",
        "disk_mb": "from disk, MB",
        "labels_per_s": "labels/s",
        "RssAnon_mb": "own, MB",
        "RssFile_mb": "mapped",
        "store_mb": "of the store",
        "bank_mb": "of the bank",
        "VmRSS_mb": "resident set",
    }
    return markdown(
        [
            {
                "after": row["step"],
                **{name: f"{row[key]:,.0f}" if key in row else "" for key, name in columns.items()},
                "growth": f"{row['VmRSS_mb'] - rows[0]['VmRSS_mb']:.0f}",
            }
            for row in rows
        ]
    )


def consuming_table(rows: Sequence[dict[str, Any]], rate: float) -> str:
    """Lay out what decoders train on beside what is read, in Markdown."""
    return markdown(
        [
            {
                "decoder": f"{row['decoder']} of {row['recognizer']}",
                "parameters": f"{row['parameters'] / 1e6:.1f} M",
                "labels/s it trains on": f"{row['labels_per_s']:.1f}",
                "read by one process": f"{rate:,.0f}",
                "ratio": f"{row['ratio']:,.0f}",
            }
            for row in rows
        ]
    )


@exit_with_message
def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the store is, or is to be built")
    parser.add_argument("--gigabytes", type=float, default=20, help="default: %(default)s")
    parser.add_argument("--batches", type=int, default=2000, help=f"of {BATCH} labels, a pass")
    parser.add_argument("--train-batch", type=int, default=64, help="labels; default: %(default)s")
    parser.add_argument("--steps", type=int, default=3, help="of training; default: %(default)s")
    parser.add_argument("--configs", type=Path, nargs="+", help="recognizers; default: as above")
    args = parse_arguments(parser)
    init_default_scope("mmocr")
    store, bank = args.folder / "store", args.folder / "bank"
    build_store(store, args.gigabytes)
    build_store(args.folder / "small", 0)
    build_bank(bank)
    with ProcessPoolExecutor(1, FRESH) as fresh:
        reading = fresh.submit(read, args.folder, args.batches, torch.get_num_threads()).result()
    configs = args.configs or [largest_recognizer(), config_folder() / "dptr_nrtr.py"]
    data = TextEmbeddingStore(store), ORPBank(bank)
    consuming = [consume(config, *data, args.train_batch, args.steps) for config in configs]
    print(reading_table(reading))
    rate = next(row["labels_per_s"] for row in reading if "labels_per_s" in row)
    for row in consuming:
        row["ratio"] = rate / row["labels_per_s"]
    print(f"\n{consuming_table(consuming, rate)}")
    write_report(
        args.json,
        [*reading, *consuming],
        labels=len(data[0]),
        gigabytes=sum(path.stat().st_size for path in store.iterdir()) / 1e9,
        batch=BATCH,
        train_batch=args.train_batch,
    )


if __name__ == "__main__":
    main()
