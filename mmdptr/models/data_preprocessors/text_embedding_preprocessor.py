# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""From ragged text embeddings to a batch on the training device."""

from typing import Any

import numpy as np
import torch
from mmengine.model import BaseDataPreprocessor
from mmocr.registry import MODELS
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

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
        """
        samples = self.cast_data(data["data_samples"])
        memories = self.cast_data(data["inputs"])
        lengths = [sample.memory_length for sample in samples]
        if not isinstance(memories, Tensor):
            memories = torch.cat(memories)
        if training and self.mix_slots:
            token_ids = np.concatenate([sample.token_ids for sample in samples])
            slots = torch.cat([torch.arange(length) for length in lengths])
            memories = mix_slots(memories, torch.from_numpy(token_ids).long(), slots)
        rows = memories.split(lengths)
        if self.num_slots is not None:
            rows = [_repeat_last(memory, self.num_slots) for memory in rows]
        longest = max(len(memory) for memory in rows)
        for memory, sample in zip(rows, samples, strict=True):
            valid_ratio = (len(memory) - 0.5) / longest if len(memory) < longest else 1.0
            sample.set_metainfo({"memory_length": len(memory), "valid_ratio": valid_ratio})
        return {"inputs": pad_sequence(rows, batch_first=True), "data_samples": samples}


def _repeat_last(memory: Tensor, num_slots: int) -> Tensor:
    if len(memory) >= num_slots:
        return memory
    index = [*range(len(memory)), *[len(memory) - 1] * (num_slots - len(memory))]
    return memory[index]
