# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import hashlib
from pathlib import Path

import pytest

from mmdptr.extraction.label_file import LabelFile

LABELS = ["hello", "naïve", "a b", "\u2028", "日本", "x", "y"]


def test_shards_are_the_labels_in_order(tmp_path: Path) -> None:
    file = LabelFile(tmp_path / "store", 3)
    found = file.write(iter(LABELS))
    file.publish()
    assert found == (7, hashlib.sha256("\n".join(LABELS).encode()).hexdigest())
    assert list(file) == LABELS
    assert list(file.shards()) == [(0, LABELS[:3]), (1, LABELS[3:6]), (2, LABELS[6:])]


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
def test_processes_share_all_shards(tmp_path: Path, processes: int) -> None:
    file = LabelFile(tmp_path / "store", 2)
    file.write(LABELS)
    file.publish()
    parts = [dict(file.shards(rank, processes)) for rank in range(processes)]
    assert sum(map(len, parts)) == 4
    assert {k: v for part in parts for k, v in part.items()} == dict(file.shards())


def test_it_lies_beside_the_store_and_goes(tmp_path: Path) -> None:
    file = LabelFile(tmp_path / "store", 2)
    assert file.write([])[0] == 0
    file.publish()
    assert [path.name for path in tmp_path.iterdir()] == [".store.labels"]
    file.remove()
    file.remove()
    assert not list(tmp_path.iterdir())


def test_what_is_not_published_disturbs_nobody(tmp_path: Path) -> None:
    file = LabelFile(tmp_path / "store", 2)
    file.write(LABELS)
    file.publish()
    with LabelFile(tmp_path / "store", 2) as refused:
        refused.write(["other"])
        assert list(file) == LABELS
    assert [path.name for path in tmp_path.iterdir()] == [".store.labels"]
    assert list(file) == LABELS


def test_publishing_sweeps_up_after_killed_processes(tmp_path: Path) -> None:
    (tmp_path / ".store.labels.4711").write_text("old")
    (tmp_path / ".storehouse.labels.4711").write_text("of another store")
    with LabelFile(tmp_path / "store", 2) as file:
        file.write(LABELS)
        file.publish()
    assert {path.name for path in tmp_path.iterdir()} == {
        ".store.labels",
        ".storehouse.labels.4711",
    }
