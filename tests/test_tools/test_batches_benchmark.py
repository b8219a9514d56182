# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The benchmark of batches: it times both ways and notices when they differ."""

import importlib
import sys
from pathlib import Path

import pytest

from mmdptr.models import DPTRLoss

sys.path.insert(0, str(Path(__file__).parents[2] / "tools" / "benchmarks"))
benchmark = importlib.import_module("batches")


def test_both_ways_are_timed() -> None:
    rows = benchmark.measure(labels=5, width=4, repeats=2)
    assert [row["task"] for row in rows] == ["padding", "targets"]
    for row in rows:
        theirs, ours = row["repeats_ms"].values()
        assert len(theirs) == len(ours) == 2
        assert row["ratio_of_medians"] == pytest.approx(
            row["label_by_label_ms"] / row["mmdptr_ms"], rel=0.1
        )


def test_other_memories_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = benchmark.LabelByLabel.forward
    monkeypatch.setattr(
        benchmark.LabelByLabel, "forward", lambda *x: {"inputs": forward(*x)["inputs"].flip(0)}
    )
    with pytest.raises(AssertionError):
        benchmark.measure(labels=5, width=4, repeats=1)


def test_other_targets_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    get_targets = DPTRLoss.get_targets
    monkeypatch.setattr(DPTRLoss, "get_targets", lambda *x: get_targets(*x)[::-1])
    with pytest.raises(AssertionError):
        benchmark.measure(labels=5, width=4, repeats=1)
