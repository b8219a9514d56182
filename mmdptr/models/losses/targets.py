# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Targets of a batch, all at once, and finding what of them is real."""

from collections.abc import Sequence
from itertools import chain

import torch
from mmocr.models.common.dictionary import Dictionary
from mmocr.structures import TextRecogDataSample
from torch import Tensor


def write_targets(
    data_samples: Sequence[TextRecogDataSample],
    indexes: Sequence[list[int]],
    dictionary: Dictionary,
    padding: int,
    length: int,
) -> None:
    """Write what MMOCR's losses write into samples, in a fraction of the time.

    MMOCR makes half a dozen small tensors for each sample (``tools/benchmarks/batches.py``).

    Args:
        data_samples (list[TextRecogDataSample]): N samples. ``gt_text`` gets ``indexes``, the
            characters, and ``padded_indexes`` of shape (T,): start, characters and end.
        indexes (list[list[int]]): Classes of the characters of each.
        dictionary (Dictionary): Start and end, where it has them.
        padding (int): Class that targets are filled up with.
        length (int): T; longer targets are cut.
    """
    head = [] if dictionary.start_idx is None else [dictionary.start_idx]
    tail = [] if dictionary.end_idx is None else [dictionary.end_idx]
    filling = [padding] * length
    targets = [[*head, *own, *tail, *filling][:length] for own in indexes]
    characters = torch.tensor([*chain(*indexes)], dtype=torch.long).split([*map(len, indexes)])
    for sample, own, padded in zip(data_samples, characters, torch.tensor(targets), strict=True):
        sample.gt_text.indexes = own
        sample.gt_text.padded_indexes = padded


def select(real: Tensor, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Pick logits and targets of what counts, which is found on the CPU: no GPU is waited for.

    Args:
        real (Tensor): What counts, bool of shape (...), on the CPU.
        logits (Tensor): Of shape (..., M).
        targets (Tensor): Of shape (...), on the CPU.

    Returns:
        tuple[Tensor, Tensor]: Of shape (S, M) and (S,), on the device of the logits.
    """
    places = real.nonzero().T.to(logits.device, non_blocking=True)
    return logits[tuple(places)], targets[real].to(logits.device, non_blocking=True)
