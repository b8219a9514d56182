# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Mixed precision in bfloat16 on any device."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from mmengine.optim import OptimWrapper
from mmocr.registry import OPTIM_WRAPPERS
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel


@OPTIM_WRAPPERS.register_module()
class BF16OptimWrapper(OptimWrapper):
    """Runs the forward pass under bfloat16 autocast, on a CPU too.

    MMEngine's ``AmpOptimWrapper`` asserts a GPU. A CPU that multiplies matrices in bfloat16 by
    itself (AMX or AVX512-BF16) gains as much from it; one that does not is slowed down.
    Bfloat16 has the range of float32, so that the loss needs no scaling, and weights and the
    optimizer's state stay float32. Takes the arguments of ``OptimWrapper``.

    The spatial transformer of ASTER and SVTR needs float32: use :class:`DPTRRecognizer`, which does
    without an FMU, too; under MMOCR's own class it bends images beyond reading.

    On a CPU attention is computed by plain products: the backward pass of PyTorch's fused kernel
    (2.14) takes several times as long in bfloat16, and longer than in float32.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast what is computed inside, beside what ``OptimWrapper`` does there."""
        device = next(model.parameters()).device.type
        attention = sdpa_kernel(SDPBackend.MATH) if device == "cpu" else nullcontext()
        with (
            super().optim_context(model),
            torch.autocast(device, dtype=torch.bfloat16),
            attention,
        ):
            yield
