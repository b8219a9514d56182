# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""From ragged text embeddings to a batch on the training device."""

from typing import Any

import numpy as np
import torch
from mmengine.model import BaseDataPreprocessor
from mmocr.registry import MODELS
from torch import Tensor

from mmdptr.models.annotation import annotate

from .padded_rows import padded_rows
from .slot_mixing import mix_slots


@MODELS.register_module()
class TextEmbeddingPreprocessor(BaseDataPreprocessor):
    """Pads memories of different lengths into one tensor and says which slots are real.

    MMOCR's decoders learn of padding by ``valid_ratio``, the valid part of the width, and round it
    up to whole positions: a memory of k slots in L gets (k - 0.5) / L, which rounds to k whatever
    the floating-point error.

    Args:
        num_slots (int, optional): Pad every memory to at least this many slots by repeating its
            last one, EOT, as valid slots: the decoder then always meets as many slots as the FMU
            has queries. Defaults to None: short memories are masked instead.
        mix_slots (bool): Whether to exchange the features of equal tokens at equal slots between
            the labels of a batch in training, see :func:`mix_slots`. Defaults to False.
        non_blocking (bool): Whether to copy to the device without waiting. Defaults to False.
    """

    def __init__(
        self, num_slots: int | None = None, mix_slots: bool = False, non_blocking: bool = False
    ) -> None:
        super().__init__(non_blocking=non_blocking)
        self.num_slots = num_slots
        self.mix_slots = mix_slots

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Collate a batch.

        Args:
            data (dict): ``inputs``, a list of N memories (L_i, D) or one tensor of them all from
                :func:`concat_collate`, and ``data_samples``.
            training (bool): Whether the batch is for training: only then slots are mixed.

        Returns:
            dict: ``inputs`` of shape (N, L, D) on the model's device, and ``data_samples`` with
            ``memory_length`` and ``valid_ratio`` set.

        Raises:
            ValueError: The memories have more or fewer slots than ``memory_length`` says.
        """
        samples = data["data_samples"]
        memories = self.cast_data(data["inputs"])
        if not isinstance(memories, Tensor):
            memories = torch.cat(memories)
        lengths = torch.tensor([sample.memory_length for sample in samples])
        if lengths.sum() != len(memories):
            raise ValueError(
                f"The memory_length of all samples sums up to {lengths.sum()}, but their memories "
                f"have {len(memories)} slots. Give each sample the length of its own memory."
            )
        filled = lengths.clamp(min=self.num_slots or 0)
        longest = int(filled.max())
        rows = padded_rows(lengths, longest)
        if training and self.mix_slots:
            token_ids = np.concatenate([sample.token_ids for sample in samples])
            starts = lengths.cumsum(0) - lengths
            places = torch.arange(len(memories)) - starts.repeat_interleave(lengths)
            rows = mix_slots(torch.from_numpy(token_ids).long(), places)[rows]
        padding = torch.arange(longest) >= filled[:, None]
        inputs = memories[rows.to(memories.device, non_blocking=True)]
        if padding.any():
            inputs = inputs.masked_fill_(
                padding[:, :, None].to(memories.device, non_blocking=True), 0
            )
        annotated = [
            annotate(
                sample,
                memory_length=length,
                valid_ratio=(length - 0.5) / longest if length < longest else 1.0,
            )
            for sample, length in zip(samples, filled.tolist(), strict=True)
        ]
        return {"inputs": inputs, "data_samples": annotated}
