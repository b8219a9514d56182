# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Four ways of keeping ragged text embeddings on disk, each in its usual and careful form.

All are given the same shards, hold the same (features, token ids and texts) and are on disk
(``fsync``) when they are built. What says that a store is complete comes last: our manifest, the
``num-samples`` of MMOCR's LMDBs, the footer of an Arrow file, the index of the flat file. A build
goes on where another one was killed if the format allows it. Readers return copies, those of a
batch in one piece.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import lmdb
import numpy as np
import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

from mmdptr.clip import Prompt
from mmdptr.embeddings import TextEmbeddingStore, TextEmbeddingWriter
from mmdptr.embeddings.text_embedding_store import POOLED

with contextlib.suppress(ImportError):  # only ArrowFile needs it
    import pyarrow as pa

Memory = tuple[Tensor, Tensor]
"""tuple[Tensor, Tensor]: Features (L, D), float16, of a label and their token ids (L,), int32."""


@dataclass(frozen=True)
class Shard:
    """N labels with T own tokens in all, as the encoder returns them: see ``TextFeatures``."""

    labels: list[str]
    pooled: np.ndarray
    tokens: np.ndarray
    lengths: np.ndarray
    prefix_lengths: np.ndarray
    token_ids: np.ndarray

    def joined(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return rows (N + T, D) of all memories, their token ids (N + T,) and their ends (N,)."""
        heads = self.lengths.cumsum() - self.lengths
        rows = np.insert(self.tokens, heads, self.pooled, axis=0)
        return rows, np.insert(self.token_ids, heads, POOLED), (self.lengths + 1).cumsum()


@dataclass(frozen=True)
class Content:
    """Shards that go into a store; ``watch`` is told the number of each that is asked for."""

    shards: list[Shard]
    watch: Callable[[int], object] = id  # of no effect

    def __len__(self) -> int:
        return sum(len(shard.labels) for shard in self.shards)

    def shard(self, number: int) -> Shard:
        """Return a shard."""
        self.watch(number)
        return self.shards[number]

    def memories(self) -> list[Memory]:
        """Return what every store has to return of all labels."""
        memories = []
        for shard in self.shards:
            rows, ids, ends = shard.joined()
            memories += in_one_piece(np.split(rows, ends[:-1]), np.split(ids, ends[:-1]))
        return memories

    @property
    def width(self) -> int:
        """int: Width D of the features."""
        return self.shards[0].pooled.shape[1]


def make_content(labels: Sequence[str], shard_size: int, width: int, seed: int = 0) -> Content:
    """Give labels the tokens that CLIP has for them, with random features of width D."""
    tokenizer, prompt, rng = SimpleTokenizer(), Prompt(), np.random.default_rng(seed)
    prefix = [tokenizer.sot_token_id, *tokenizer.encode(prompt.prefix)]
    shards = []
    for first in range(0, len(labels), shard_size):
        own, starts = [], []
        for label in labels[first : first + shard_size]:
            ids = [prefix[0], *tokenizer.encode(prompt(label)), tokenizer.eot_token_id]
            # The tokenizer merges the prefix's quote with some labels, as in `'stop`.
            starts.append(next(i for i, x in enumerate(ids) if x not in prefix[i : i + 1]))
            own.append(ids[starts[-1] :])
        lengths = np.array([len(ids) for ids in own])
        pooled, tokens = (
            rng.standard_normal((rows, width), dtype=np.float32).astype(np.float16)
            for rows in (len(own), lengths.sum())
        )
        some, token_ids = list(labels[first : first + shard_size]), np.concatenate(own, dtype="i4")
        shards.append(Shard(some, pooled, tokens, lengths, np.array(starts), token_ids))
    return Content(shards)


def in_one_piece(rows: Sequence[np.ndarray], ids: Sequence[np.ndarray]) -> list[Memory]:
    """Copy the rows (L, D) and ids (L,) of several labels into one tensor each, and split it."""
    lengths = [len(x) for x in ids]
    features, token_ids = (torch.from_numpy(np.concatenate(x)) for x in (rows, ids))
    return list(zip(features.split(lengths), token_ids.split(lengths), strict=True))


@contextlib.contextmanager
def synced(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write, which is on disk afterwards."""
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


class Store(Protocol):
    """What the benchmark asks of a format."""

    def __init__(self, folder: Path) -> None: ...

    def __len__(self) -> int: ...

    @staticmethod
    def build(folder: Path, content: Content) -> None:
        """Write the content, or what is missing of it."""

    def memories(self, indices: Sequence[int]) -> list[Memory]:
        """Read several labels."""


class SafetensorsShards(TextEmbeddingStore):
    """Ours; compares all checksums when it is opened."""

    @staticmethod
    def build(folder: Path, content: Content) -> None:
        """Write the content, or the shards that are missing."""
        with TextEmbeddingWriter(folder, {"keep_padding": False}) as writer:
            for number in range(len(content.shards)):
                if writer.has(name := f"labels-{number:05d}"):
                    continue
                shard = content.shard(number)
                features = (shard.pooled, shard.tokens, shard.lengths, shard.prefix_lengths)
                tensors = map(torch.from_numpy, (*features, shard.token_ids))
                writer.add_labels(name, shard.labels, *tensors)
            # Stands for CLIP's prefix, a few rows in the whole store.
            writer.add_prefix(torch.zeros(1, content.width), torch.zeros(1))
            writer.finish()


class LMDB:
    """A label is an entry: number of rows, token ids, rows, text. A shard is a transaction."""

    LAST = b"num-samples"  # sorts behind the numbers of the labels

    def __init__(self, folder: Path) -> None:
        self.env = lmdb.open(str(folder), readonly=True, lock=False, readahead=False)
        with self.env.begin() as transaction:
            about = transaction.get(self.LAST)
        if about is None:
            raise ValueError(f"{folder} has no {self.LAST.decode()}: it is not complete.")
        self.length, self.width = map(int, about.split())

    @staticmethod
    def build(folder: Path, content: Content) -> None:
        """Write the content, or the shards that are missing."""
        with lmdb.open(str(folder), map_size=1 << 40) as env:
            first, done = 0, env.stat()["entries"]
            for number in range(len(content.shards)):
                if first >= done:
                    shard = content.shard(number)
                    rows, ids, ends = shard.joined()
                    own = (np.split(ids, ends[:-1]), np.split(rows, ends[:-1]), shard.labels)
                    with env.begin(write=True) as transaction:
                        for i, (y, x, text) in enumerate(zip(*own, strict=True), first):
                            count = len(y).to_bytes(4, "little")
                            value = count + y.tobytes() + x.tobytes() + text.encode()
                            transaction.put(b"%09d" % i, value, append=True)
                first += len(content.shards[number].labels)
            with env.begin(write=True) as transaction:
                transaction.put(LMDB.LAST, b"%d %d" % (first, content.width))

    def __len__(self) -> int:
        return self.length

    def memories(self, indices: Sequence[int]) -> list[Memory]:
        """Read several labels."""
        rows, ids = [], []
        with self.env.begin(buffers=True) as transaction:
            for value in (transaction.get(b"%09d" % index, b"") for index in indices):
                count = int.from_bytes(value[:4], "little")
                ids.append(np.frombuffer(value, np.int32, count, 4))
                own = np.frombuffer(value, np.float16, count * self.width, 4 + 4 * count)
                rows.append(own.reshape(count, self.width))
            return in_one_piece(rows, ids)


class MappedRows:
    """Reads blocks of labels: rows (R, D) and token ids (R,), and where each label's end (N,)."""

    def __init__(
        self, rows: list[np.ndarray], token_ids: list[np.ndarray], ends: list[np.ndarray]
    ) -> None:
        self.rows, self.token_ids, self.ends = rows, token_ids, np.concatenate(ends)
        self.begins = np.concatenate([np.append(0, x[:-1]) for x in ends])
        self.block_ends = np.cumsum([len(x) for x in ends])

    def __len__(self) -> int:
        return len(self.ends)

    def memories(self, indices: Sequence[int]) -> list[Memory]:
        """Read several labels."""
        blocks = np.searchsorted(self.block_ends, indices, side="right").tolist()
        places = map(slice, self.begins[indices].tolist(), self.ends[indices].tolist())
        found = [
            (self.rows[block][place], self.token_ids[block][place])
            for block, place in zip(blocks, places, strict=True)
        ]
        return in_one_piece(*zip(*found, strict=True))


class ArrowFile(MappedRows):
    """One Arrow IPC file, memory-mapped; a label is a row with lists, a shard a record batch."""

    FILE = "memories.arrow"

    def __init__(self, folder: Path) -> None:
        reader = pa.ipc.open_file(pa.memory_map(str(folder / self.FILE)))
        batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
        features = [batch["features"].values for batch in batches]
        super().__init__(
            [x.values.to_numpy().reshape(len(x), -1) for x in features],
            [batch["token_ids"].values.to_numpy() for batch in batches],
            [batch["features"].offsets.to_numpy()[1:] for batch in batches],
        )

    @staticmethod
    def build(folder: Path, content: Content) -> None:
        """Write the content; a file without a footer has to be written anew."""
        kinds = (pa.list_(pa.float16(), content.width), pa.int32())
        names = ("features", "token_ids")
        fields = {name: pa.list_(kind) for name, kind in zip(names, kinds, strict=True)}
        schema = pa.schema({**fields, "label": pa.string()})
        with synced(folder / ArrowFile.FILE) as file:
            # As a context manager it would put a footer under what an error left unfinished.
            writer = pa.ipc.new_file(file, schema)
            for number in range(len(content.shards)):
                shard = content.shard(number)
                rows, ids, ends = shard.joined()
                offsets = pa.array(np.append(0, ends).astype(np.int32))
                matrix = pa.FixedSizeListArray.from_arrays(rows.reshape(-1), content.width)
                columns = [
                    pa.ListArray.from_arrays(offsets, matrix),
                    pa.ListArray.from_arrays(offsets, ids),
                    pa.array(shard.labels),
                ]
                writer.write_batch(pa.record_batch(columns, schema=schema))
            writer.close()


class FlatMap(MappedRows):
    """One file of all rows, memory-mapped, and an index of the rest, which is read at once."""

    ROWS, INDEX = "rows.bin", "index.npz"

    def __init__(self, folder: Path) -> None:
        with np.load(folder / self.INDEX) as index:
            ids, ends = index["token_ids"], index["ends"]
        rows = np.memmap(folder / self.ROWS, np.float16, "r").reshape(len(ids), -1)
        super().__init__([np.asarray(rows)], [ids], [ends])

    @staticmethod
    def build(folder: Path, content: Content) -> None:
        """Write the content; rows without an index have to be written anew."""
        ids, lengths, labels = [], [], []
        with synced(folder / FlatMap.ROWS) as file:
            for number in range(len(content.shards)):
                shard = content.shard(number)
                rows, own_ids, _ = shard.joined()
                rows.tofile(file)
                ids.append(own_ids)
                lengths.append(shard.lengths + 1)
                labels += shard.labels
        text = np.frombuffer("\n".join(labels).encode(), np.uint8)
        ends = np.concatenate(lengths).cumsum()
        with synced(folder / FlatMap.INDEX) as file:
            np.savez(file, token_ids=np.concatenate(ids), ends=ends, text=text)


OURS, ARROW = "safetensors shards (mmdptr)", "Arrow IPC"
FORMATS: dict[str, type[Store]] = {
    OURS: SafetensorsShards,
    "LMDB": LMDB,
    ARROW: ArrowFile,
    "flat memory map": FlatMap,
}
