# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
import torch

from mmdptr.bfloat16 import cpu_multiplies_bfloat16

CPUINFO = Path("/proc/cpuinfo")


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"avx512_f": True, "avx512_vnni": True, "avx512_bf16": False}, False),
        ({"avx512_f": True, "avx512_bf16": True, "amx_bf16": False}, True),
        ({"avx512_bf16": False, "amx_bf16": True}, True),
        ({"neon": True, "bf16": False}, False),
        ({"neon": True, "bf16": True}, True),
    ],
)
def test_capabilities_decide(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: bool
) -> None:
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: capabilities, raising=False)
    monkeypatch.setattr("torch.backends.mkldnn.is_available", lambda: True)
    assert cpu_multiplies_bfloat16() is expected
    # Without oneDNN PyTorch has no fast kernels, whatever the CPU has.
    monkeypatch.setattr("torch.backends.mkldnn.is_available", lambda: False)
    assert not cpu_multiplies_bfloat16()


def test_older_pytorch_is_asked_for_what_onednn_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("torch.cpu.get_capabilities", raising=False)
    known = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert cpu_multiplies_bfloat16() is known


@pytest.mark.skipif(
    not CPUINFO.is_file() or "avx2" not in CPUINFO.read_text(), reason="x86 under Linux"
)
def test_pytorch_knows_what_the_system_does() -> None:
    flags = CPUINFO.read_text().split()
    if hasattr(torch.cpu, "get_capabilities"):
        assert cpu_multiplies_bfloat16() == bool({"avx512_bf16", "amx_bf16"} & set(flags))
