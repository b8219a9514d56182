# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Which processors gain from bfloat16."""

import torch

# As PyTorch names them: x86's, and Arm's.
INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")


def cpu_multiplies_bfloat16() -> bool:
    """Tell whether the CPU multiplies matrices in bfloat16 by itself.

    Others emulate it: with AVX-512 at about half the speed of float32 (oneDNN#493), without, by
    plain loops that take 15 to 500 times as long (pytorch#146508).
    """
    if not torch.backends.mkldnn.is_available():
        return False
    if hasattr(torch.cpu, "get_capabilities"):
        capabilities = torch.cpu.get_capabilities()
        return any(capabilities.get(name, False) for name in INSTRUCTIONS)
    # Older PyTorch only tells whether oneDNN would compute it, which suffices it to have AVX-512.
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
