# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The number formats that features are kept in."""

import torch
from torch import Tensor


def to_half(features: Tensor) -> Tensor:
    """Convert features to float16 on the CPU.

    Raises:
        ValueError: A value is not finite there.
    """
    half = features.to(device="cpu", dtype=torch.float16)
    # Extremes are infinite or NaN if a value is; asking each is many times as slow.
    if half.numel() and not torch.stack(half.aminmax()).isfinite().all():
        raise ValueError(
            "The features hold values that are not finite in float16. Check the CLIP weights, or "
            "compute in --precision fp32."
        )
    return half


def quantize(rows: Tensor) -> dict[str, Tensor]:
    """Turn float16 rows (R, D) into int8 ``features`` (R, D) and float32 ``scales`` (R,)."""
    scales = rows.float().abs().amax(dim=1).clamp(min=torch.finfo(torch.float16).tiny) / 127
    features = (rows.float() / scales[:, None]).round().to(torch.int8)
    return {"features": features, "scales": scales}
