# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""A few strided convolutions before a transformer encoder."""

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmocr.registry import MODELS
from torch import Tensor, nn

from mmdptr.models.position import add_positions


@MODELS.register_module()
class ConvStem(BaseModule):
    """Backbone of one strided convolution a stage, for experiments on a CPU.

    Every stage is a 3x3 convolution, batch normalization and a ReLU, with most of the work at low
    resolution. With few labelled images such a stem makes a transformer encoder learn much sooner
    than patches do (as in "Early Convolutions Help Transformers See Better", arXiv 2106.14881),
    at a fraction of the cost of MMOCR's ResNets.

    Args:
        channels (Sequence[int]): Output channels a stage. Defaults to (16, 32, 64, 128, 128).
        strides (Sequence[tuple[int, int]]): Stride (rows, columns) a stage. The default makes one
            row of W / 4 columns of an image 32 pixels high.
        in_channels (int): Channels of the image. Defaults to 3.
        with_position (bool): Whether to add 2-D sinusoid positions to the features, for encoders
            and decoders that have none of their own. Defaults to False.
        init_cfg (dict or list[dict], optional): Initialization config. Defaults to Kaiming.

    Raises:
        ValueError: Not as many strides as channels.
    """

    def __init__(
        self,
        channels: Sequence[int] = (16, 32, 64, 128, 128),
        strides: Sequence[tuple[int, int]] = ((2, 2), (2, 2), (2, 1), (2, 1), (2, 1)),
        in_channels: int = 3,
        with_position: bool = False,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg or {"type": "Kaiming", "layer": "Conv2d"})
        if len(channels) != len(strides):
            raise ValueError(
                f"ConvStem: {len(channels)} channels and {len(strides)} strides; give one of each "
                "for every stage."
            )
        self.with_position = with_position
        inputs = [in_channels, *channels[:-1]]
        self.stages = nn.Sequential(
            *(
                ConvModule(i, o, 3, stride=stride, padding=1, norm_cfg={"type": "BN"})
                for i, o, stride in zip(inputs, channels, strides, strict=True)
            )
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Turn images (N, in_channels, H, W) into features (N, C, H', W')."""
        features = self.stages(inputs)
        return add_positions(features) if self.with_position else features
