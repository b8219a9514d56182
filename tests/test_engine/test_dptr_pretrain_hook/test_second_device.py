# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Both stages where model and data lie on different devices at first, as with a GPU."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.second_device import SecondDeviceTensor, second_device

from .stage_2 import config, decoders, train


@pytest.mark.parametrize("stage_1", [{}, {"typeset": True}], ids=["slots", "typeset"])
def test_a_second_device_trains_both_stages_as_the_cpu_does(
    spelled: Path,
    bank: Path,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage_1: dict[str, Any],
) -> None:
    hook = {"embeddings": str(spelled), "orp_bank": str(bank), **stage_1}
    losses, weights = train(config(tmp_path / "cpu", images, dict(hook)))
    with second_device() as device:
        monkeypatch.setattr("mmengine.runner.runner.get_device", lambda: device.type)
        # The optimizer's state would be pickled where it is.
        options = {
            "default_hooks": {"checkpoint": {"type": "CheckpointHook", "save_optimizer": False}}
        }
        found, moved = train(config(tmp_path / "second", images, dict(hook), **options))
    assert found == pytest.approx(losses, rel=1e-6)  # but for rounding
    assert all(isinstance(x, SecondDeviceTensor) for x in moved.values())
    torch.testing.assert_close({k: x.held for k, x in moved.items()}, weights)
    one, two = (torch.load(decoders(tmp_path / x)[0], weights_only=True) for x in ("cpu", "second"))
    torch.testing.assert_close(two["state_dict"], one["state_dict"])
