# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""NRTR's modality transform in other widths."""

from typing import Any

from mmocr.models.textrecog.backbones import NRTRModalityTransform
from mmocr.registry import MODELS
from torch import nn


@MODELS.register_module()
class NarrowModalityTransform(NRTRModalityTransform):
    """NRTR's modality transform (arXiv 1806.00926) with a free output width.

    MMOCR's own class always has 512 channels, too many for experiments on a CPU. Images must be 32
    pixels high.

    Args:
        out_channels (int): Channels of the output (N, out_channels, 1, W / 4).
        **kwargs: Arguments of ``NRTRModalityTransform``.
    """

    def __init__(self, out_channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        in_channels: int = self.linear.in_features  # type: ignore[has-type]
        self.linear = nn.Linear(in_channels, out_channels)
