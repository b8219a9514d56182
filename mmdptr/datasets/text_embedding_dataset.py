# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Labels and their CLIP text embeddings, as a dataset of MMEngine."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from mmengine.dataset import Compose
from mmengine.logging import print_log
from mmocr.models.common import Dictionary
from mmocr.registry import DATASETS, TASK_UTILS
from torch.utils.data import Dataset

from mmdptr.dictionaries import GraphemeDictionary, split_units

from .text_embeddings import open_text_embeddings

SPLITS = ("train", "val", "all")


@DATASETS.register_module()
class TextEmbeddingDataset(Dataset):
    """Reads a text-embedding store.

    A sample is a dict with ``embedding`` (float16, of shape (L, D): the pooled feature, then the
    label's tokens), ``token_ids`` (what CLIP's tokenizer calls them, -1 for the pooled feature),
    ``text`` (the label) and ``clip`` (the hash of the CLIP's weights, for transforms that must use
    the same one). The pipeline makes model inputs of it; a transform with the method
    ``transform_batch`` is given the samples of a batch together.

    Args:
        embeddings (str or dict): Folder of the store, or the arguments of a
            :class:`LiveTextEmbeddings`, which computes what a store would hold.
        pipeline (Sequence[dict]): Transforms. Defaults to ().
        split (str): ``'train'``, ``'val'`` or ``'all'``. Whether a label is held out depends on a
            hash of the label alone, so that it is the same in every store. Defaults to ``'train'``.
        holdout (float): Part of the labels that ``'val'`` has. Defaults to 0.01.
        max_samples (int, optional): Use at most so many labels, spread evenly. Defaults to None.
        dictionary (dict or Dictionary, optional): The decoder's dictionary; labels are checked
            against it. Defaults to None: no check.
        max_seq_len (int, optional): The decoder's ``max_seq_len``; label lengths are checked
            against it. Defaults to None: no check.
        on_invalid (str): What to do with labels that fail the check: ``'error'`` or ``'drop'``.
            Defaults to ``'error'``.
        with_prefix (bool, optional): Whether the memory holds the prompt's prefix too. Defaults to
            None: only where the store keeps padding, which together is the paper's memory of 78.
        verify_checksums (bool): Whether to verify the store first. Defaults to True.

    Raises:
        FileNotFoundError: No store there.
        ValueError: The store is damaged, incomplete, foreign or has no label for this split; or
            labels do not fit the decoder.
    """

    def __init__(
        self,
        embeddings: str | dict[str, Any],
        pipeline: Sequence[dict[str, Any]] = (),
        split: str = "train",
        holdout: float = 0.01,
        max_samples: int | None = None,
        dictionary: dict[str, Any] | Dictionary | None = None,
        max_seq_len: int | None = None,
        on_invalid: str = "error",
        with_prefix: bool | None = None,
        verify_checksums: bool = True,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"Unknown split {split!r}. Expected one of {', '.join(SPLITS)}.")
        if on_invalid not in ("error", "drop"):
            raise ValueError(f"on_invalid is 'error' or 'drop', found {on_invalid!r}.")
        self.store = open_text_embeddings(embeddings, verify_checksums)
        self.with_prefix = self.store.keeps_padding if with_prefix is None else with_prefix
        self.pipeline = Compose(pipeline)
        if isinstance(dictionary, dict):
            dictionary = TASK_UTILS.build(dictionary)
        drop = not self._fits(dictionary, max_seq_len)
        if drop and on_invalid == "error":
            raise ValueError(self._misfit(dictionary, max_seq_len))
        keep = np.ones(len(self.store), dtype=bool)
        if drop:
            labels = map(self.store.label, range(len(self.store)))
            keep = np.fromiter((_is_valid(x, dictionary, max_seq_len) for x in labels), bool)
            print_log(
                f"{self.store.folder}: {(~keep).sum()} labels do not fit the decoder.", "current"
            )
        if split != "all":
            keep &= (self.store.label_hashes() < holdout * 2**32) == (split == "val")
        self.indices = np.flatnonzero(keep)
        if max_samples is not None and len(self.indices) > max_samples:
            self.indices = self.indices[:: -(-len(self.indices) // max_samples)]
        if not len(self.indices):
            raise ValueError(
                f"{self.store.folder} has {len(self.store)} labels, but none for split={split!r} "
                f"with holdout={holdout}. Use a larger corpus, or another holdout, the same for "
                "training and validation: in the hook cfg_options="
                "{'train_dataloader.dataset.holdout': 0.1, 'val_dataloader.dataset.holdout': 0.1}."
            )

    @property
    def metainfo(self) -> dict[str, Any]:
        """dict: What a checkpoint records of its data."""
        return {"dataset_type": "TextEmbeddingDataset", "task_name": "textrecog"}

    def _fits(self, dictionary: Dictionary | None, max_seq_len: int | None) -> bool:
        """Whether all labels fit the decoder, by the store's summary alone if that suffices."""
        manifest = self.store.manifest
        longest = manifest["max_label_length"] <= _room(dictionary, max_seq_len)
        if longest and not _missing(manifest["characters"], dictionary):
            return True
        # Characters that are none of its units may be parts of its grapheme clusters.
        return isinstance(dictionary, GraphemeDictionary) and all(
            _is_valid(self.store.label(row), dictionary, max_seq_len)
            for row in range(len(self.store))
        )

    def _misfit(self, dictionary: Dictionary | None, max_seq_len: int | None) -> str:
        manifest, found = self.store.manifest, []
        missing = _missing(manifest["characters"], dictionary)
        if missing:
            found.append(f"it holds characters that the dictionary lacks: {''.join(missing)!r}")
        room = _room(dictionary, max_seq_len)
        if manifest["max_label_length"] > room:
            found.append(
                f"its longest label has {manifest['max_label_length']} characters, the decoder "
                f"(max_seq_len {max_seq_len}) has room for {room:.0f}"
            )
        return (
            f"The store {self.store.folder} does not fit the decoder: {'; '.join(found)}. Extract "
            "it with --dictionary and --max-length, or set on_invalid='drop' to leave such labels "
            "out."
        )

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Return several samples; PyTorch's loader asks for the whole batch like this."""
        rows = self.indices[indices].tolist()
        clip = self.store.manifest["source"]["clip"]["weights_sha256"]
        memories = self.store.memories(rows, self.with_prefix)
        samples = [
            {
                "embedding": memory,
                "token_ids": token_ids,
                "text": self.store.label(row),
                "clip": clip,
                "sample_idx": row,
            }
            for row, (memory, token_ids) in zip(rows, memories, strict=True)
        ]
        for transform in self.pipeline.transforms:
            if hasattr(transform, "transform_batch"):
                samples = transform.transform_batch(samples)
            else:
                samples = [transform(sample) for sample in samples]
        return samples


def _room(dictionary: Dictionary | None, max_seq_len: int | None) -> float:
    """Characters a decoder has room for, besides its start and end tokens."""
    if max_seq_len is None:
        return float("inf")
    if dictionary is None:
        return max_seq_len
    return max_seq_len - (dictionary.start_idx is not None) - (dictionary.end_idx is not None)


def _missing(units: Iterable[str], dictionary: Dictionary | None) -> list[str]:
    return [] if dictionary is None else sorted(set(units).difference(dictionary.dict))


def _is_valid(label: str, dictionary: Dictionary | None, max_seq_len: int | None) -> bool:
    units = list(label) if dictionary is None else split_units(label, dictionary)
    return len(units) <= _room(dictionary, max_seq_len) and not _missing(units, dictionary)
