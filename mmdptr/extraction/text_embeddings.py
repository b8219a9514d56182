# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""From word corpora to a text-embedding store."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from mmengine.dist import barrier, broadcast_object_list, get_dist_info
from open_clip.tokenizer import SimpleTokenizer
from tqdm import tqdm

from mmdptr.clip import CLIPTextEncoder
from mmdptr.datasets.corpora import iter_corpora
from mmdptr.datasets.filter_report import FilterReport
from mmdptr.datasets.label_filter import LabelFilter
from mmdptr.embeddings import TextEmbeddingWriter
from mmdptr.embeddings.text_embedding_store import PREFIX

from .label_file import LabelFile

EXCEEDS_CONTEXT = "exceeds CLIP context"
TOKENIZER_CACHE = 100_000
"""int: Words, of about 200 bytes each, that open_clip's tokenizer may remember; it forgets none."""

Item = TypeVar("Item")


def extract_text_embeddings(
    corpora: Iterable[str | Path],
    folder: str | Path,
    encoder: CLIPTextEncoder,
    label_filter: LabelFilter,
    shard_size: int = 4096,
    overwrite: bool = False,
    int8: bool = False,
) -> FilterReport:
    """Encode the labels of corpora into a store; goes on where an interrupted run stopped.

    Of several processes (``torchrun``, SLURM) the first reads the corpora and all share the shards;
    the store has the same bytes however many there are. Nothing is kept in memory that grows with
    the corpus.

    Args:
        corpora (Iterable[str or Path]): Files and folders that :func:`iter_corpora` reads.
        folder (str or Path): Where the store goes; all processes must see it.
        encoder (CLIPTextEncoder): The encoder.
        label_filter (LabelFilter): What is kept of the corpora.
        shard_size (int): Labels a shard; an interrupted run loses the shard that it was encoding,
            and the one before if that was still being written. Defaults to 4096.
        overwrite (bool): Whether to replace a store that is finished, damaged or of another source.
            Defaults to False.
        int8 (bool): Whether to keep the features as int8, see :class:`TextEmbeddingWriter`.
            Defaults to False.

    Returns:
        FilterReport: What was read, kept and dropped, and why; of use in the first process only.

    Raises:
        ValueError: No label is left, the folder was written from another source, or
            ``shard_size`` is below 1.
        OSError: The disk is full or not writable; what was written stays good.
    """
    if shard_size < 1:
        raise ValueError(f"shard_size is {shard_size}, expected 1 or more.")
    with LabelFile(folder, shard_size) as labels:
        return _extract(corpora, labels, folder, encoder, label_filter, overwrite, int8)


def _extract(
    corpora: Iterable[str | Path],
    labels: LabelFile,
    folder: str | Path,
    encoder: CLIPTextEncoder,
    label_filter: LabelFilter,
    overwrite: bool,
    int8: bool,
) -> FilterReport:
    rank, _ = get_dist_info()
    written: list[Any] = [None]
    if rank == 0:
        filtered = label_filter(tqdm(iter_corpora(corpora), desc="Reading", unit="label"))
        written = [labels.write(filtered)]
    broadcast_object_list(written)
    number, sha256 = written[0]
    report = label_filter.report
    if not number:
        raise ValueError(f"No label of the corpora can be used, nothing is written.\n{report}")
    source = describe_source(encoder, label_filter, number, sha256)
    source["shard_size"] = labels.shard_size
    # The first process begins the store, all fill it, the first one finishes it.
    if rank:
        barrier()
    with TextEmbeddingWriter(folder, source, overwrite, rank > 0, int8) as writer:
        if not rank:
            labels.publish()
            barrier()
        if not writer.complete:
            _write_shards(writer, labels, encoder, number)
            if not rank and not writer.has(PREFIX):
                writer.add_prefix(encoder.prefix_features(), torch.tensor(encoder.prefix_ids))
        barrier()
        if rank:
            return report
        entries = writer.entries()
        exceeding = [x for entry in entries.values() for x in entry.get("exceeding", [])]
        for label in exceeding:
            report.drop(EXCEEDS_CONTEXT, label)
        if not report.kept:
            raise ValueError(f"No label fits into CLIP's context, the store is empty.\n{report}")
        if not writer.complete:
            expected = 1 + -(-number // labels.shard_size)
            if len(entries) != expected:
                raise RuntimeError(
                    f"{folder} has {len(entries)} shards, expected {expected}: something else wrote"
                    " or deleted there meanwhile. Run the same command again."
                )
            writer.finish(**_summary(labels, set(exceeding)), report=report.to_dict())
        labels.remove()
    return report


def describe_source(
    encoder: CLIPTextEncoder, label_filter: LabelFilter, number: int, sha256: str
) -> dict[str, Any]:
    """Return all that the embeddings of labels, given by number and hash, depend on."""
    return {
        "clip": encoder.clip.identity.to_dict(),
        "prompt": encoder.prompt.to_dict(),
        "letter_case": label_filter.letter_case,
        "keep_padding": encoder.keep_padding,
        "joint_space": encoder.joint_space,
        "num_labels": number,
        "labels_sha256": sha256,
    }


class _Shard(NamedTuple):
    """A shard on its way to the encoder: labels that fit into CLIP's context, and the others."""

    name: str
    size: int
    labels: list[str]
    sentences: list[list[int]]
    exceeding: list[str]


def _write_shards(
    writer: TextEmbeddingWriter, labels: LabelFile, encoder: CLIPTextEncoder, number: int
) -> None:
    """Encode this process's shards; the next is tokenized and the last written meanwhile."""
    rank, world_size = get_dist_info()
    name = f"Encoding, 1 of {world_size} processes" if world_size > 1 else "Encoding"
    progress = tqdm(total=-(-number // world_size), desc=name, unit="label", disable=rank > 0)
    with ThreadPoolExecutor(1) as tokenizer, ThreadPoolExecutor(1) as disk, progress:
        write: Future[Any] = disk.submit(int)  # nothing yet
        shards = _tokenize(writer, labels.shards(rank, world_size), encoder, progress)
        for shard in _ahead(shards, tokenizer):
            features = encoder.encode_ids(shard.sentences)
            write.result()
            write = disk.submit(
                writer.add_labels,
                shard.name,
                shard.labels,
                features.pooled,
                features.tokens,
                features.lengths,
                features.prefix_lengths,
                features.token_ids,
                exceeding=shard.exceeding,
            )
            progress.update(shard.size)
        write.result()


def _tokenize(
    writer: TextEmbeddingWriter,
    shards: Iterable[tuple[int, list[str]]],
    encoder: CLIPTextEncoder,
    progress: tqdm,
) -> Iterator[_Shard]:
    """Tokenize the shards that are not written yet."""
    for number, labels in shards:
        name = f"labels-{number:05d}"
        if writer.has(name):
            progress.update(len(labels))
            continue
        sentences = [encoder.tokenize(label) for label in labels]
        _bound_cache(encoder.clip.tokenizer)
        fitting = [i for i, ids in enumerate(sentences) if encoder.fits(ids)]
        yield _Shard(
            name,
            len(labels),
            [labels[i] for i in fitting],
            [sentences[i] for i in fitting],
            [x for x, ids in zip(labels, sentences, strict=True) if not encoder.fits(ids)],
        )


def _bound_cache(tokenizer: SimpleTokenizer) -> None:
    """Forget the words of a full cache, but not the special tokens, which are always there."""
    if len(tokenizer.cache) > TOKENIZER_CACHE:
        specials = [tokenizer.decoder[i] for i in tokenizer.all_special_ids]
        tokenizer.cache = {token: token for token in specials}


def _ahead(items: Iterator[Item], executor: Executor) -> Iterator[Item]:
    """Yield items while the executor computes the next one."""
    future = executor.submit(next, items, None)
    while (item := future.result()) is not None:
        future = executor.submit(next, items, None)
        yield item


def _summary(labels: Iterable[str], exceeding: set[str]) -> dict[str, Any]:
    """What a reader wants to know of a corpus without reading it."""
    number, longest, characters = 0, 0, set[str]()
    for label in labels:
        if label not in exceeding:
            number += 1
            longest = max(longest, len(label))
            characters.update(label)
    return {
        "num_labels": number,
        "max_label_length": longest,
        "characters": "".join(sorted(characters)),
    }
