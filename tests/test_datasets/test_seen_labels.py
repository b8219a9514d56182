# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import random
import tracemalloc
from pathlib import Path

import lmdb
import pytest

from mmdptr.datasets import seen_labels
from mmdptr.datasets.seen_labels import SeenLabels


def test_seen_labels_knows_each_label_once():
    seen = SeenLabels()
    words = [f"{i}" for i in range(20_000)]
    assert all(seen.add(word) for word in words)
    assert not any(seen.add(word) for word in words)


def test_seen_labels_need_the_memory_they_promise():
    tracemalloc.start()
    seen = SeenLabels()
    for index in range(100_000):
        seen.add(f"a label of some length, number {index}")
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # 32 bytes for the number, and a table of 2**18 entries of 16 bytes.
    assert used < 100_000 * 32 + 2**18 * 16 + 10_000


def test_on_disk_it_answers_as_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen_labels, "BATCH", 300)
    monkeypatch.setattr(seen_labels, "GROWTH", 1 << 15)  # so that the map must grow
    rng = random.Random(0)
    words = [f"{rng.randrange(3000)}" for _ in range(10_000)]
    seen = SeenLabels(in_memory=500, folder=tmp_path)
    known: set[str] = set()
    for word in words:
        assert seen.add(word) == (word not in known)
        known.add(word)
    assert len(seen._digests) < 500
    assert list(tmp_path.iterdir())
    del seen
    assert not list(tmp_path.iterdir())  # nothing is left behind


def test_memory_grows_no_more_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen_labels, "BATCH", 5000)
    seen = SeenLabels(in_memory=5000, folder=tmp_path)
    for index in range(6000):
        seen.add(f"{index}")
    tracemalloc.start()
    for index in range(6000, 60_000):
        seen.add(f"{index}")
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 5000 * 100


class FullDisk:
    """An LMDB environment that can write no more."""

    def begin(self, write: bool = False) -> None:
        raise lmdb.DiskError("No space left on device")


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = SeenLabels(in_memory=10, folder=tmp_path)
    monkeypatch.setattr(seen_labels, "BATCH", 2)
    for index in range(11):
        seen.add(f"{index}")
    assert seen._disk is not None
    seen._disk._env = FullDisk()
    with pytest.raises(OSError, match=r"No room for.*mmdptr-labels-.*No space.*Set TMPDIR"):
        seen.add("another")
