# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Both stages in two processes, as with two GPUs."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from .stage_2 import decoders

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("stage_1", [{}, {"typeset": True}], ids=["slots", "typeset"])
def test_two_processes_train_one_model(
    spelled: Path, bank: Path, images: Path, tmp_path: Path, stage_1: dict[str, Any]
) -> None:
    hook = json.dumps({"embeddings": str(spelled), "orp_bank": str(bank), **stage_1})
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    script = Path(__file__).with_name("stage_2_of_two.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *launcher, script, tmp_path, images, hook],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    one, two = (torch.load(tmp_path / f"rank_{i}.pth", weights_only=True) for i in (0, 1))
    assert len(decoders(tmp_path)) == 1
    assert one["epochs"] == two["epochs"] == [0]  # stage 1, together
    assert one["losses"] != two["losses"]  # of other images
    torch.testing.assert_close(one["parameters"], two["parameters"], rtol=0, atol=0)
    # Two processes share the 80 words less those held out: 32 a step in place of 16.
    log = next(tmp_path.glob("dptr_pretrain/*/*/*.log")).read_text()
    assert "Epoch(train) [1][2/2]" in log
    assert "[1][3/" not in log
    assert "is 32. Scaling the original LR by 2.0" in log
