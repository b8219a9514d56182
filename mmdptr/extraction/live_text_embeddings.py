# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Text embeddings without a store."""

import hashlib
import inspect
import json
from collections.abc import Sequence
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from mmengine.logging import print_log
from torch import Tensor
from tqdm import tqdm

from mmdptr.clip import CLIPTextEncoder, Prompt, load_clip, merge_characters, tokenize_label
from mmdptr.datasets.corpora import iter_corpora
from mmdptr.datasets.label_filter import LabelFilter
from mmdptr.embeddings.precision import to_half
from mmdptr.embeddings.text_embedding_store import POOLED, hash_labels
from mmdptr.writing import read_alphabet

from .text_embeddings import check_widths, describe_encoding, summarize


class LiveTextEmbeddings:
    """Computes text embeddings when they are asked for, with CLIP in memory.

    To :class:`TextEmbeddingDataset` it is a text-embedding store, and gives the same memories as
    one. It saves the disk and the extraction, and costs a CLIP beside the decoder and its forward
    in each epoch: for a few thousand labels, or to try prompts. The CLIP belongs to the dataset: it
    is in no state dict. The loader must have ``num_workers=0``, which the hook sees to.

    Args:
        corpora (Sequence[str]): What :func:`iter_corpora` reads.
        clip (dict, optional): Arguments of :func:`load_clip`, with ``device`` and ``precision``.
            Defaults to None: its defaults.
        dict_file (str, optional): Dictionary file; labels with other characters are dropped.
            Defaults to None: all are kept.
        label_filter (dict, optional): Other arguments of :class:`LabelFilter`. Defaults to None.
        prompt (str): Sentence with the label's place. Defaults to the paper's.
        spelling (str): ``'word'`` or ``'characters'``, see :class:`Prompt`. Defaults to ``'word'``.
        keep_padding (bool): See :class:`CLIPTextEncoder`. Defaults to False.
        joint_space (bool): See :class:`CLIPTextEncoder`. Defaults to False.

    Raises:
        ValueError: No label is left, or pooled and token features differ in width.
    """

    _shared: WeakValueDictionary[str, "LiveTextEmbeddings"] = WeakValueDictionary()

    def __init__(
        self,
        corpora: Sequence[str],
        clip: dict[str, Any] | None = None,
        dict_file: str | None = None,
        label_filter: dict[str, Any] | None = None,
        prompt: str = Prompt.template,
        spelling: str = Prompt.spelling,
        keep_padding: bool = False,
        joint_space: bool = False,
    ) -> None:
        self.folder = f"<{', '.join(map(str, corpora))}>"
        self.config = {
            "corpora": list(corpora),
            "clip": clip,
            "dict_file": dict_file,
            "label_filter": label_filter,
            "prompt": prompt,
            "spelling": spelling,
            "keep_padding": keep_padding,
            "joint_space": joint_space,
        }
        self.keeps_padding = keep_padding
        self.encoder = CLIPTextEncoder(
            load_clip(**clip or {}), Prompt(prompt, spelling), keep_padding, joint_space
        )
        check_widths(self.encoder)
        characters = read_alphabet(dict_file) if dict_file else None
        filtered = LabelFilter(characters, **label_filter or {})
        self._labels, self._sentences, self._ends = [], [], []
        for label in tqdm(filtered(iter_corpora(corpora)), desc="Tokenizing", unit="label"):
            tokenized = tokenize_label(self.encoder, label)
            if tokenized.fault:
                filtered.report.drop(tokenized.fault, label)
            else:
                self._labels.append(label)
                self._sentences.append(tokenized.ids)
                self._ends.append(tokenized.ends)
        if not self._labels:
            raise ValueError(f"No label of the corpora can be used.\n{filtered.report}")
        print_log(str(filtered.report), "current")
        text = "\n".join(self._labels).encode()
        source = {
            **describe_encoding(self.encoder, filtered),
            "num_labels": len(self._labels),
            "labels_sha256": hashlib.sha256(text).hexdigest(),
        }
        self.manifest = {
            "source": source,
            **summarize(self._labels, filtered),
        }
        self._prefix = to_half(self.encoder.prefix_features())

    @classmethod
    def shared(cls, **config: Any) -> "LiveTextEmbeddings":
        """Return what was built from equal arguments and is still in use, or build it.

        So training, validation and the hook share one CLIP.
        """
        bound = inspect.signature(cls).bind(**config)
        bound.apply_defaults()
        key = json.dumps(bound.arguments, sort_keys=True, default=str)
        found = cls._shared.get(key)
        if found is None:
            found = cls._shared[key] = cls(**config)
        return found

    def __len__(self) -> int:
        return len(self._labels)

    @property
    def width(self) -> int:
        """int: Width D of the features."""
        return self.encoder.token_width

    def label(self, index: int) -> str:
        """Return the label ``index``."""
        return self._labels[index]

    def labels(self) -> list[str]:
        """Return all labels."""
        return list(self._labels)

    def label_hashes(self) -> np.ndarray:
        """Return :func:`hash_labels` of all labels."""
        return hash_labels(self._labels)

    def memories(
        self, indices: Sequence[int], with_prefix: bool = False
    ) -> list[tuple[Tensor, Tensor]]:
        """Compute memories and their token ids, as :meth:`TextEmbeddingStore.memories` reads them.

        Args:
            indices (Sequence[int]): Which labels.
            with_prefix (bool): Whether to put the prompt's prefix between the pooled feature and
                the own tokens. Defaults to False.

        Returns:
            list[tuple[Tensor, Tensor]]: For each label features of shape (L, D), float16, and ids
            of shape (L,), int32, on the CPU.
        """
        features = merge_characters(
            self.encoder.encode_ids([self._sentences[i] for i in indices]),
            [self._ends[i] for i in indices],
        )
        pooled, tokens = to_half(features.pooled), to_half(features.tokens)
        lengths = features.lengths.tolist()
        ids = features.token_ids.to(torch.int32).split(lengths)
        prefix_ids = torch.tensor(self.encoder.prefix_ids, dtype=torch.int32)
        found = []
        for i, own in enumerate(tokens.split(lengths)):
            start = int(features.prefix_lengths[i]) if with_prefix else 0
            head = torch.tensor([POOLED], dtype=torch.int32)
            found.append(
                (
                    torch.cat([pooled[i : i + 1], self._prefix[:start], own]),
                    torch.cat([head, prefix_ids[:start], ids[i]]),
                )
            )
        return found
