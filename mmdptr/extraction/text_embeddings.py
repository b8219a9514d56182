# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""From word corpora to a text-embedding store."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import barrier, broadcast_object_list, get_dist_info, is_main_process
from tqdm import tqdm

from mmdptr.clip import CLIPTextEncoder, merge_characters
from mmdptr.datasets.corpora import iter_corpora
from mmdptr.datasets.filter_report import FilterReport
from mmdptr.datasets.label_filter import LabelFilter
from mmdptr.embeddings import TextEmbeddingWriter
from mmdptr.embeddings.beginning import find_begun, lock_folder
from mmdptr.embeddings.text_embedding_store import KIND, PREFIX

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
        ValueError: No label is left, the folder was written from another source, pooled and token
            features differ in width, or ``shard_size`` is below 1.
        RuntimeError: Another process is writing the store.
        OSError: The disk is full or not writable; what was written stays good.
    """
    if shard_size < 1:
        raise ValueError(f"shard_size is {shard_size}, expected 1 or more.")
    check_widths(encoder)
    labels = LabelFile(folder, shard_size)
    if not is_main_process():
        return _extract(corpora, labels, folder, encoder, label_filter, overwrite, int8, workers)
    # Held while the corpora are read, too: a second run would waste hours on that.
    with lock_folder(folder), labels:
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
    encoding = describe_encoding(encoder, label_filter)
    shard_size = {"shard_size": labels.shard_size}
    written: list[Any] = [None]
    if rank == 0:
        find_begun(folder, KIND, {**encoding, **shard_size, "int8": int8}, overwrite, partly=True)
        filtered = label_filter(tqdm(iter_corpora(corpora), desc="Reading", unit="label"))
        written = [labels.write(filtered)]
    broadcast_object_list(written)
    number, sha256 = written[0]
    report = label_filter.report
    if not number:
        raise ValueError(f"No label of the corpora can be used, nothing is written.\n{report}")
    source = {**encoding, "num_labels": number, "labels_sha256": sha256, **shard_size}
    # The first process begins the store, all fill it, the first one finishes it.
    if rank:
        barrier()
    with TextEmbeddingWriter(folder, source, overwrite, rank > 0, int8, locked=True) as writer:
        if not rank:
            barrier()
        if not writer.complete:
            _write_shards(writer, labels, encoder, number, workers)
            if not rank and not writer.has(PREFIX):
                writer.add_prefix(encoder.prefix_features(), torch.tensor(encoder.prefix_ids))
        barrier()
        if not rank:
            _finish(writer, label_filter)
    return report


def _finish(writer: TextEmbeddingWriter, label_filter: LabelFilter) -> None:
    """Report what CLIP could not encode, and finish the store if it is not."""
    entries, report = writer.entries(), label_filter.report
    for entry in entries.values():
        for label, reason in entry.get("refused", []):
            report.drop(reason, label)
        for reason, count in entry.get("unlisted", {}).items():
            report.dropped[reason] += count
    if writer.complete:
        return
    encoded = sum(entry.get("labels", 0) for entry in entries.values())
    if encoded != report.kept or PREFIX not in entries:
        raise RuntimeError(
            f"{writer.folder} has {encoded} labels in {len(entries)} shards, expected "
            f"{report.kept}: something else wrote or deleted there meanwhile. Run the same command "
            "again."
        )
    if not encoded:
        writer.discard()
        raise ValueError(f"CLIP can encode no label, nothing is written.\n{report}")
    writer.finish(**summarize(writer.labels(), label_filter), report=report.to_dict())


def check_widths(encoder: CLIPTextEncoder) -> None:
    """Refuse an encoder whose features cannot stand in one memory, before it is used.

    Raises:
        ValueError: Pooled and token features differ in width.
    """
    if encoder.pooled_width != encoder.token_width:
        raise ValueError(
            f"The pooled feature has width {encoder.pooled_width}, the tokens "
            f"{encoder.token_width}: they cannot stand in one memory. Project the tokens, too: "
            "--joint-space (joint_space=True)."
        )


def describe_encoding(encoder: CLIPTextEncoder, label_filter: LabelFilter) -> dict[str, Any]:
    """Return all that embeddings depend on but the labels."""
    return {
        "clip": encoder.clip.identity.to_dict(),
        "prompt": encoder.prompt.to_dict(),
        "letter_case": label_filter.letter_case,
        "keep_padding": encoder.keep_padding,
        "joint_space": encoder.joint_space,
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
                    **({"unlisted": shard.unlisted} if shard.unlisted else {}),
                )
            progress.update(shard.size)
