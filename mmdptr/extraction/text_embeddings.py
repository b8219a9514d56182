# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""From word corpora to a text-embedding store."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import barrier, broadcast_object_list, get_dist_info
from tqdm import tqdm

from mmdptr.clip import CLIPTextEncoder, merge_characters
from mmdptr.datasets.corpora import iter_corpora
from mmdptr.datasets.filter_report import FilterReport
from mmdptr.datasets.label_filter import LabelFilter
from mmdptr.embeddings import TextEmbeddingWriter
from mmdptr.embeddings.text_embedding_store import PREFIX

from .label_file import LabelFile
from .tokenizing import ShardTokenizer


def extract_text_embeddings(
    corpora: Iterable[str | Path],
    folder: str | Path,
    encoder: CLIPTextEncoder,
    label_filter: LabelFilter,
    shard_size: int = 4096,
    overwrite: bool = False,
    int8: bool = False,
    workers: int = 0,
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
        shard_size (int): Labels a shard; an interrupted run loses the one that was not yet on the
            disk. Defaults to 4096.
        overwrite (bool): Whether to replace a store that is finished, damaged or of another source.
            Defaults to False.
        int8 (bool): Whether to keep the features as int8, see :class:`TextEmbeddingWriter`.
            Defaults to False.
        workers (int): Processes that tokenize ahead of the encoder; with 0 it waits for the
            tokenizer. Defaults to 0.

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
        return _extract(corpora, labels, folder, encoder, label_filter, overwrite, int8, workers)


def _extract(
    corpora: Iterable[str | Path],
    labels: LabelFile,
    folder: str | Path,
    encoder: CLIPTextEncoder,
    label_filter: LabelFilter,
    overwrite: bool,
    int8: bool,
    workers: int,
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
            _write_shards(writer, labels, encoder, number, workers)
            if not rank and not writer.has(PREFIX):
                writer.add_prefix(encoder.prefix_features(), torch.tensor(encoder.prefix_ids))
        barrier()
        if rank:
            return report
        entries = writer.entries()
        refused = dict(x for entry in entries.values() for x in entry.get("refused", []))
        for label, reason in refused.items():
            report.drop(reason, label)
        if not report.kept:
            raise ValueError(f"CLIP can encode no label, the store is empty.\n{report}")
        if not writer.complete:
            expected = 1 + -(-number // labels.shard_size)
            if len(entries) != expected:
                raise RuntimeError(
                    f"{folder} has {len(entries)} shards, expected {expected}: something else wrote"
                    " or deleted there meanwhile. Run the same command again."
                )
            kept = (label for label in labels if label not in refused)
            writer.finish(**summarize(kept, label_filter), report=report.to_dict())
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


def summarize(labels: Iterable[str], label_filter: LabelFilter) -> dict[str, Any]:
    """Return what a reader wants to know of labels without reading them."""
    number, longest, units = 0, 0, set[str]()
    for label in labels:
        found = label_filter.units(label)
        number += 1
        longest = max(longest, len(found))
        units.update(found)
    return {"num_labels": number, "max_label_length": longest, "characters": sorted(units)}


def _write_shards(
    writer: TextEmbeddingWriter,
    labels: LabelFile,
    encoder: CLIPTextEncoder,
    number: int,
    workers: int,
) -> None:
    """Encode this process's shards.

    Each is written before the next is encoded: that takes a hundredth of the time, and whenever a
    run is killed, it loses no more than one.
    """
    rank, world_size = get_dist_info()
    name = f"Encoding, 1 of {world_size} processes" if world_size > 1 else "Encoding"
    shards = ShardTokenizer(labels, writer, encoder, rank, world_size).ahead(workers)
    share = -(-number // world_size)
    with tqdm(total=share, desc=name, unit="label", disable=rank > 0) as progress:
        for shard in shards:
            if not shard.written:
                features = merge_characters(encoder.encode_ids(shard.sentences), shard.ends)
                writer.add_labels(
                    shard.name,
                    shard.labels,
                    features.pooled,
                    features.tokens,
                    features.lengths,
                    features.prefix_lengths,
                    features.token_ids,
                    refused=shard.refused,
                )
            progress.update(shard.size)
