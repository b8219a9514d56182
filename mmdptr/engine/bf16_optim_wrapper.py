# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Mixed precision in bfloat16 on any device."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmocr.registry import OPTIM_WRAPPERS
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from mmdptr.bfloat16 import cpu_multiplies_bfloat16


@OPTIM_WRAPPERS.register_module()
class BF16OptimWrapper(OptimWrapper):
    """Runs the forward pass under bfloat16 autocast, on a CPU too.

    MMEngine's ``AmpOptimWrapper`` asserts a GPU. A CPU that multiplies matrices in bfloat16 by
    itself (AMX or AVX512-BF16) gains as much from it. One that does not would be slowed down, often
    to a standstill: there the forward pass stays in float32, and a warning says so.
    Bfloat16 has the range of float32, so that the loss needs no scaling, and weights and the
    optimizer's state stay float32. Takes the arguments of ``OptimWrapper``.

    The spatial transformer of ASTER and SVTR needs float32: use :class:`DPTRRecognizer`, which does
    without an FMU, too; under MMOCR's own class it bends images beyond reading.

    On a CPU attention is computed by plain products: the backward pass of PyTorch's fused kernel
    (2.14) takes several times as long in bfloat16, and longer than in float32.
    """

    _has_warned = False

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast what is computed inside, beside what ``OptimWrapper`` does there."""
        device = next(model.parameters()).device.type
        with ExitStack() as stack:
            stack.enter_context(super().optim_context(model))
            if device != "cpu" or cpu_multiplies_bfloat16():
                stack.enter_context(torch.autocast(device, dtype=torch.bfloat16))
                if device == "cpu":
                    stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            elif not self._has_warned:
                self._has_warned = True
                print_log(
                    "BF16OptimWrapper computes in float32: this CPU has neither AVX512-BF16 nor "
                    "AMX, and would be many times slower in bfloat16.",
                    logger="current",
                    level=logging.WARNING,
                )
            yield
