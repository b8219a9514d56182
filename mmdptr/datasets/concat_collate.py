# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Collating a batch of memories of different lengths."""

from typing import Any

import torch
from mmengine.registry import FUNCTIONS


@FUNCTIONS.register_module()
def concat_collate(batch: list[dict[str, Any]]) -> dict[str, Any]:
    """Collate samples of :class:`PackTextEmbeddings` with all memories in one tensor.

    A worker hands every tensor to the training process through a shared-memory file of its own:
    256 small ones take many times longer than one of the same size.

    Args:
        batch (list[dict]): N samples with ``inputs`` (L_i, D) and ``data_samples``.

    Returns:
        dict: ``inputs`` of shape (L_1 + ... + L_N, D) and ``data_samples``, a list of N, whose
        ``memory_length`` says how to take it apart; :class:`TextEmbeddingPreprocessor` does.
    """
    return {
        "inputs": torch.cat([sample["inputs"] for sample in batch]),
        "data_samples": [sample["data_samples"] for sample in batch],
    }
