# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""What both kinds of stage 1 share."""

import copy
from typing import Any

from torch import Tensor

from mmdptr.models.memory import MemoryLayout


def decoder_of_stage_1(decoder: dict[str, Any], layout: MemoryLayout) -> dict[str, Any]:
    """Return a copy with :class:`DPTRLoss` for a ``CEModuleLoss``; other losses stay.

    A copy, for MMOCR writes into what it is given.

    Args:
        decoder (dict): The recognizer's decoder config.
        layout (MemoryLayout): Its layout, which says whether targets may be of any length.
    """
    decoder = copy.deepcopy(decoder)
    if decoder.get("module_loss", {}).get("type") == "CEModuleLoss":
        loss = {"type": "DPTRLoss", "trim_targets": layout.any_length}
        decoder["module_loss"].update(loss)
    return decoder


def check_width(inputs: Tensor, embed_dims: int) -> None:
    """Refuse text embeddings (N, L, D) of another width.

    Raises:
        ValueError: D is not ``embed_dims``.
    """
    if inputs.shape[-1] != embed_dims:
        raise ValueError(
            f"The text embeddings have width {inputs.shape[-1]}, the model expects "
            f"embed_dims={embed_dims}. Set model.embed_dims={inputs.shape[-1]}, or give the store "
            "that belongs to this config."
        )
