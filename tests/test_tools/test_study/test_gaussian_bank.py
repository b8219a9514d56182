# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mmdptr.datasets.transforms import ORP
from mmdptr.embeddings import ORPBank, ORPBankWriter

sys.path.insert(0, str(Path(__file__).parents[3] / "tools" / "study"))
tool = importlib.import_module("gaussian_bank")


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    """A bank whose channels differ in mean and variance, the second one always 3."""
    rng = torch.Generator().manual_seed(1)
    features = torch.randn(250, 20, 3, generator=rng) * torch.tensor([2, 0, 0.1])
    with ORPBankWriter(tmp_path / "bank", {"clip": {"weights_sha256": "abc"}}) as writer:
        writer.add_images("images-00000", features + torch.tensor([-5, 3, 0]), images=250)
        writer.finish(num_images=250)
    return tmp_path / "bank"


def draw(bank: Path, out: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> torch.Tensor:
    monkeypatch.setattr(sys, "argv", ["gaussian_bank.py", str(bank), "--out", str(out), *options])
    tool.main()
    found = ORPBank(out)
    assert len(found) == 250
    images, positions = np.divmod(np.arange(250 * 20), 20)
    return found.tokens(images, positions).float()


def test_every_channel_has_its_mean_and_variance(
    bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = draw(bank, tmp_path / "noise", monkeypatch)
    torch.testing.assert_close(noise.mean(0), torch.tensor([-5, 3, 0.0]), atol=0.1, rtol=0)
    torch.testing.assert_close(noise.std(0), torch.tensor([2, 0, 0.1]), atol=0.05, rtol=0.05)
    normal = (noise[:, 0] + 5) / 2
    assert normal.abs().lt(1).float().mean() == pytest.approx(0.683, abs=0.03)
    assert len(noise.unique(dim=0)) > 4900  # not one draw over and over
    assert torch.equal(noise, draw(bank, tmp_path / "noise", monkeypatch))  # it is there already
    with pytest.raises(SystemExit, match="written from another source"):
        draw(bank, tmp_path / "noise", monkeypatch, "--seed", "1")
    assert not torch.equal(noise, draw(bank, tmp_path / "other", monkeypatch, "--seed", "1"))


def test_orp_takes_it_for_noise_of_the_same_clip(
    bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(bank, tmp_path / "noise", monkeypatch)
    torch.manual_seed(0)
    sample = {"clip": "abc", "embedding": torch.zeros(4, 3)}
    found = ORP(str(tmp_path / "noise"), scale=0.5).transform(sample)["embedding"]
    torch.testing.assert_close(found[:, 1], torch.full((4,), 1.5))
