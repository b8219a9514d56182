# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""From word corpora to a text-embedding store."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from mmdptr.clip import CLIPTextEncoder
from mmdptr.datasets.corpora import iter_corpora
from mmdptr.datasets.filter_report import FilterReport
from mmdptr.datasets.label_filter import LabelFilter
from mmdptr.embeddings import TextEmbeddingWriter
from mmdptr.embeddings.text_embedding_store import PREFIX

EXCEEDS_CONTEXT = "exceeds CLIP context"


def extract_text_embeddings(
    corpora: Iterable[str | Path],
    folder: str | Path,
    encoder: CLIPTextEncoder,
    label_filter: LabelFilter,
    shard_size: int = 4096,
    overwrite: bool = False,
) -> FilterReport:
    """Encode the labels of corpora into a store; goes on where an interrupted run stopped.

    Args:
        corpora (Iterable[str or Path]): Files and folders that :func:`iter_corpora` reads.
        folder (str or Path): Where the store goes.
        encoder (CLIPTextEncoder): The encoder.
        label_filter (LabelFilter): What is kept of the corpora.
        shard_size (int): Labels a shard; an interrupted run loses at most one. Defaults to 4096.
        overwrite (bool): Whether to replace a store of another source. Defaults to False.

    Returns:
        FilterReport: What was read, kept and dropped, and why.

    Raises:
        ValueError: No label is left, the folder was written from another source, or
            ``shard_size`` is below 1.
        OSError: The disk is full or not writable; what was written stays good.
    """
    if shard_size < 1:
        raise ValueError(f"shard_size is {shard_size}, expected 1 or more.")
    labels = list(label_filter(tqdm(iter_corpora(corpora), desc="Reading", unit="label")))
    report = label_filter.report
    if not labels:
        raise ValueError(f"No label of the corpora can be used, nothing is written.\n{report}")
    source = {
        "clip": encoder.clip.identity.to_dict(),
        "prompt": encoder.prompt.to_dict(),
        "letter_case": label_filter.letter_case,
        "keep_padding": encoder.keep_padding,
        "joint_space": encoder.joint_space,
        "num_labels": len(labels),
        "labels_sha256": hashlib.sha256("\n".join(labels).encode()).hexdigest(),
        "shard_size": shard_size,
    }
    with TextEmbeddingWriter(folder, source, overwrite) as writer:
        if not writer.complete:
            _write_shards(writer, labels, encoder, shard_size)
        for entry in writer.manifest["files"].values():
            for label in entry.get("exceeding", []):
                report.drop(EXCEEDS_CONTEXT, label)
        if not report.kept:
            raise ValueError(f"No label fits into CLIP's context, the store is empty.\n{report}")
        if not writer.complete:
            exceeding = {
                x for e in writer.manifest["files"].values() for x in e.get("exceeding", [])
            }
            writer.finish(**_summary([x for x in labels if x not in exceeding], report))
    return report


def _write_shards(
    writer: TextEmbeddingWriter, labels: Sequence[str], encoder: CLIPTextEncoder, size: int
) -> None:
    with tqdm(total=len(labels), desc="Encoding", unit="label", smoothing=0.1) as progress:
        for begin in range(0, len(labels), size):
            name = f"labels-{begin // size:05d}"
            shard = labels[begin : begin + size]
            if not writer.has(name):
                sentences = [encoder.tokenize(label) for label in shard]
                fitting = [i for i, ids in enumerate(sentences) if encoder.fits(ids)]
                features = encoder.encode_ids([sentences[i] for i in fitting])
                writer.add_labels(
                    name,
                    [shard[i] for i in fitting],
                    features.pooled,
                    features.tokens,
                    features.lengths,
                    features.prefix_lengths,
                    features.token_ids,
                    exceeding=[
                        x for x, ids in zip(shard, sentences, strict=True) if not encoder.fits(ids)
                    ],
                )
            progress.update(len(shard))
    if not writer.has(PREFIX):
        writer.add_prefix(encoder.prefix_features(), torch.tensor(encoder.prefix_ids))


def _summary(labels: Sequence[str], report: FilterReport) -> dict[str, Any]:
    """What a reader wants to know of a corpus without reading it."""
    return {
        "num_labels": len(labels),
        "max_label_length": max(map(len, labels)),
        "characters": "".join(sorted(set().union(*labels))),
        "report": report.to_dict(),
    }
