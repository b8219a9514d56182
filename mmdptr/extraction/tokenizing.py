# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Tokenizing the labels of a store ahead of the encoder, in processes of their own."""

from collections.abc import Iterator
from typing import NamedTuple

from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from mmdptr.clip import CLIPTextEncoder, tokenize_label
from mmdptr.datasets.filter_report import FilterReport
from mmdptr.embeddings import TextEmbeddingWriter

from .label_file import LabelFile


class TokenizedShard(NamedTuple):
    """A shard on its way to the encoder.

    Args:
        name (str): Its name in the store.
        size (int): Its labels, those that cannot be encoded included.
        labels (list[str]): Labels that can be encoded.
        sentences (list[list[int]]): Their token ids.
        ends (list[list[int]]): Where their characters end, see :class:`TokenizedLabel`.
        refused (list[tuple[str, str]]): The first labels that cannot be encoded, and why.
        unlisted (dict[str, int]): How many more there are of each reason.
        written (bool): Whether it is safe on disk already, and therefore not tokenized.
    """

    name: str
    size: int
    labels: list[str]
    sentences: list[list[int]]
    ends: list[list[int]]
    refused: list[tuple[str, str]]
    unlisted: dict[str, int]
    written: bool = False


class ShardTokenizer(IterableDataset):
    """Tokenizes every ``step``-th shard of a corpus, from shard ``first`` on.

    The workers of a loader take turns, so that it yields the shards in order.

    Args:
        labels (LabelFile): The corpus.
        writer (TextEmbeddingWriter): Knows which shards are safe on disk already.
        encoder (CLIPTextEncoder): Its tokenizer is used, and nothing of its tower.
        first (int): The first shard. Defaults to 0.
        step (int): Defaults to 1.
    """

    def __init__(
        self,
        labels: LabelFile,
        writer: TextEmbeddingWriter,
        encoder: CLIPTextEncoder,
        first: int = 0,
        step: int = 1,
    ) -> None:
        self.labels = labels
        self.writer = writer
        self.encoder = encoder
        self.first = first
        self.step = step

    def __iter__(self) -> Iterator[TokenizedShard]:
        worker = get_worker_info()
        turn, turns = (worker.id, worker.num_workers) if worker else (0, 1)
        for number, labels in self.labels.shards(self.first + turn * self.step, turns * self.step):
            name = f"labels-{number:05d}"
            if self.writer.has(name):
                yield TokenizedShard(name, len(labels), [], [], [], [], {}, written=True)
            else:
                yield self._tokenize(name, labels)

    def _tokenize(self, name: str, labels: list[str]) -> TokenizedShard:
        fitting, sentences, ends, report = [], [], [], FilterReport(dropped={})
        for label in labels:
            tokenized = tokenize_label(self.encoder, label)
            if tokenized.fault:
                report.drop(tokenized.fault, label)
            else:
                fitting.append(label)
                sentences.append(tokenized.ids)
                ends.append(tokenized.ends)
        self.encoder.sentences.bound_memory()
        examples = report.examples
        refused = [(label, reason) for reason in examples for label in examples[reason]]
        counts = {reason: n - len(examples[reason]) for reason, n in report.dropped.items()}
        unlisted = {reason: count for reason, count in counts.items() if count}
        return TokenizedShard(name, len(labels), fitting, sentences, ends, refused, unlisted)

    def ahead(self, workers: int) -> DataLoader:
        """Return a loader that tokenizes in as many processes; 0 tokenizes when asked.

        They are forked: a fresh process would import PyTorch for longer than most corpora take.
        """
        context = "fork" if workers else None
        return DataLoader(
            self, batch_size=None, num_workers=workers, multiprocessing_context=context
        )
