# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The benchmark of PARSeq: it times both and notices when they differ."""

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.registry import init_default_scope

from mmdptr.models import PARSeqDecoder
from tests.builders import dictionary

sys.path.insert(0, str(Path(__file__).parents[2] / "tools" / "benchmarks"))
benchmark = importlib.import_module("parseq")


def peers(backbone: bool = False) -> Any:
    init_default_scope("mmocr")
    torch.manual_seed(4)  # whose words do not end by themselves
    config = {
        "type": "PARSeq",
        "backbone": {"type": "ViT", "embed_dim": 32, "depth": 1, "num_heads": 2, "patch_size": 16},
        "decoder": {
            "type": "PARSeqDecoder",
            "d_model": 32,
            "n_head": 2,
            "d_inner": 32,
            "dictionary": dictionary(),
            "module_loss": {"type": "PARSeqLoss"},
            "postprocessor": {"type": "AttentionPostprocessor"},
        },
    }
    return benchmark.Peers(config, 3, backbone)


@pytest.mark.parametrize("backbone", [False, True])
@pytest.mark.parametrize("task", ["train", "read"])
def test_both_are_timed(task: str, backbone: bool) -> None:
    row = benchmark.compare(peers(backbone), task, 2)
    assert len(row["repeats_s"]["literal"]) == len(row["repeats_s"]["mmdptr"]) == 2
    ratio = row["mmdptr_samples_per_s"] / row["literal_samples_per_s"]
    assert row["ratio_of_medians"] == pytest.approx(ratio, rel=0.05)


def test_a_difference_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    glance = PARSeqDecoder.glance
    monkeypatch.setattr(PARSeqDecoder, "decode", glance)
    with pytest.raises(AssertionError):
        benchmark.compare(peers(), "read", 1)


def test_words_have_ends() -> None:
    found = peers()
    draft = found.model.eval().decoder.decode(found.features.flatten(2).mT)
    assert draft.shape[1] == 26, "random weights do not end"
    found.read(literally=False)
    assert found.lengths.max() < 26
