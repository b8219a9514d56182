# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""What a camera makes of a flat word."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torchvision import tv_tensors
from torchvision.transforms import v2


def view_distortions() -> v2.Transform:
    """Return what place and form of the letters suffer: turn, slant, perspective, bent surfaces."""
    bilinear = v2.InterpolationMode.BILINEAR
    return v2.Compose(
        [
            v2.RandomApply([Bend()], p=0.3),
            v2.RandomAffine(degrees=6, shear=(-18, 18, -3, 3), interpolation=bilinear),
            v2.RandomPerspective(distortion_scale=0.25, p=0.6, interpolation=bilinear),
        ]
    )


def camera_distortions() -> v2.Transform:
    """Return what the pixels suffer: light, lens, sensor and compression."""
    return v2.Compose(
        [
            v2.RandomPhotometricDistort(p=0.5),
            v2.RandomGrayscale(p=0.1),
            v2.RandomApply([FewPixels()], p=0.3),
            v2.RandomApply([v2.GaussianBlur(kernel_size=5, sigma=(0.3, 1.6))], p=0.4),
            v2.RandomApply([MotionBlur()], p=0.15),
            v2.RandomApply([Noise()], p=0.5),
            v2.RandomApply([v2.JPEG(quality=(25, 90))], p=0.5),
        ]
    )


class Bend(v2.Transform):
    """Words on an arc or on cloth: columns move up and down along a piece of a wave."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the wave: its height in pixels, waves a width, and where it begins."""
        height, width = flat_inputs[0].shape[-2:]
        draw = torch.rand(3)
        amplitude = (draw[0] - 0.5) * 0.4 * min(height, width)
        waves = 0.5 + draw[1] * width / height / 4
        columns = torch.linspace(0, 1, width)
        return {"shift": amplitude * torch.sin(torch.pi * (2 * waves * columns + draw[2]))}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Bend an image or a mask (C, H, W)."""
        height, width = inpt.shape[-2:]
        y = torch.arange(height)[:, None] + params["shift"]
        x = torch.arange(width).expand(height, -1)
        grid = torch.stack([2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1], dim=-1)
        bent = functional.grid_sample(
            inpt.float()[None], grid[None], padding_mode="border", align_corners=True
        )
        return tv_tensors.wrap(bent[0].round().to(inpt.dtype), like=inpt)


class FewPixels(v2.Transform):
    """Photographs from afar: fewer pixels, made many again."""

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Shrink an image (3, H, W) to 12 to 24 rows and enlarge it again."""
        height, width = inpt.shape[-2:]
        rows = int(torch.randint(12, 25, ()))
        if rows >= height:
            return inpt
        small = [rows, max(4, round(width * rows / height))]
        return v2.functional.resize(v2.functional.resize(inpt, small), [height, width])


class MotionBlur(v2.Transform):
    """Photographs with a moving hand: the mean along a line of 3 to 5 pixels."""

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Blur an image (3, H, W) of uint8."""
        length = 3 + 2 * int(torch.randint(2, ()))
        kernel = torch.zeros(length, length)
        kernel[length // 2] = 1 / length
        angle = float(torch.rand(()) * 180)
        turned = v2.functional.rotate(
            kernel[None], angle, interpolation=v2.InterpolationMode.BILINEAR
        )[0]
        turned = turned / turned.sum()
        blurred = functional.conv2d(inpt.float()[:, None], turned[None, None], padding=length // 2)
        return blurred[:, 0].round().clamp(0, 255).to(inpt.dtype)


class Noise(v2.Transform):
    """Noise of a sensor, of a strength that differs from image to image."""

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Add grey Gaussian noise to an image (3, H, W) of uint8."""
        noise = torch.randn(inpt.shape[-2:]) * torch.rand(()) * 14
        return (inpt + noise).round().clamp(0, 255).to(inpt.dtype)
