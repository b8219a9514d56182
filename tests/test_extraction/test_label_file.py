# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmdptr.extraction.label_file import LabelFile

LABELS = ["hello", "naïve", "a b", "\u2028", "日本", "x", "y"]


def test_shards_are_the_labels_in_order(tmp_path: Path) -> None:
    file = LabelFile(tmp_path / "store", 3)
    found = file.write(iter(LABELS))
    assert found == (7, hashlib.sha256("\n".join(LABELS).encode()).hexdigest())
    assert list(file) == LABELS
    assert list(file.shards()) == [(0, LABELS[:3]), (1, LABELS[3:6]), (2, LABELS[6:])]


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
def test_processes_share_all_shards(tmp_path: Path, processes: int) -> None:
    file = LabelFile(tmp_path / "store", 2)
    file.write(LABELS)
    parts = [dict(file.shards(rank, processes)) for rank in range(processes)]
    assert sum(map(len, parts)) == 4
    assert {k: v for part in parts for k, v in part.items()} == dict(file.shards())


def test_it_lies_beside_the_store_and_goes(tmp_path: Path) -> None:
    with LabelFile(tmp_path / "store", 2) as file:
        assert file.write([])[0] == 0
        assert [path.name for path in tmp_path.iterdir()] == [".store.labels"]
    assert not list(tmp_path.iterdir())


def test_it_goes_if_reading_fails(tmp_path: Path) -> None:
    def labels() -> Iterator[str]:
        yield "hello"
        raise ValueError("line 2 is no label")

    with pytest.raises(ValueError, match="line 2"), LabelFile(tmp_path / "store", 2) as file:
        file.write(labels())
    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_left_is_replaced(tmp_path: Path) -> None:
    LabelFile(tmp_path / "store", 2).write(LABELS)
    (tmp_path / ".store.labels.partial").write_text("old")
    with LabelFile(tmp_path / "store", 2) as file:
        left = iter(file)  # a process of that run that still reads
        assert next(left) == LABELS[0]
        file.write(["other"])
        assert list(file) == ["other"]
        assert list(left) == LABELS[1:]
    assert not list(tmp_path.iterdir())
