# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import os
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from mmdptr.engine import cache_folder
from mmdptr.engine.cache_folder import alone_in, ask_main_process, find_checkpoint

from . import two_processes


def write_checkpoints(folder: Path, *names: str) -> None:
    """The first is the oldest, whatever the names."""
    for age, name in enumerate(reversed(names)):
        torch.save({"state_dict": {}}, folder / name)
        os.utime(folder / name, (1000 - age, 1000 - age))


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(cache_folder, "print_log", lambda text, *_: said.append(text))
    return said


def test_what_was_noted_last_is_gone_on_from(tmp_path: Path, warnings: list[str]) -> None:
    assert find_checkpoint(tmp_path / "not there") is None
    write_checkpoints(tmp_path, "epoch_1.pth", "epoch_2.pth")
    assert find_checkpoint(tmp_path) is None
    (tmp_path / "last_checkpoint").write_text(f"{tmp_path / 'epoch_1.pth'}\n")
    assert find_checkpoint(tmp_path) == tmp_path / "epoch_1.pth"
    assert warnings == []


@pytest.mark.parametrize("note", ["", "epoch_8.pth", "epoch_10.pth"], ids=["empty", "gone", "half"])
def test_else_the_newest_that_can_be_read(tmp_path: Path, warnings: list[str], note: str) -> None:
    names = ("epoch_1.pth", "iter_9.pth", "epoch_2.pth", "epoch_10.pth", "decoder.pth")
    write_checkpoints(tmp_path, *names)
    damaged = tmp_path / "epoch_10.pth"
    damaged.write_bytes(damaged.read_bytes()[:-30])
    (tmp_path / "last_checkpoint").write_text(note and str(tmp_path / note))
    assert find_checkpoint(tmp_path) == tmp_path / "epoch_2.pth"
    for name in ("epoch_2.pth", "iter_9.pth"):
        (tmp_path / name).write_bytes(b"")
    assert find_checkpoint(tmp_path) == tmp_path / "epoch_1.pth"
    (tmp_path / "epoch_1.pth").unlink()
    assert find_checkpoint(tmp_path) is None
    assert [text.partition("cut off. ")[2] for text in warnings] == [
        f"Going on from {tmp_path / 'epoch_2.pth'}.",
        f"Going on from {tmp_path / 'epoch_1.pth'}.",
        "No other checkpoint is there: beginning anew.",
    ]


def wait_for_another_training(rank: int, folder: Path) -> None:
    (folder / f"rank_{rank}_waits").touch()
    with alone_in(folder / "decoder"):
        assert (folder / "released").exists()


def test_waiting_is_longer_than_a_process_group_waits(tmp_path: Path) -> None:
    def other_training() -> None:
        with FileLock(tmp_path / "decoder.lock"):
            locked.set()
            while len([*tmp_path.glob("rank_*_waits")]) < 2:
                time.sleep(0.1)
            time.sleep(two_processes.TIMEOUT.total_seconds() + 3)
            (tmp_path / "released").touch()

    locked = threading.Event()
    thread = threading.Thread(target=other_training, daemon=True)
    thread.start()
    locked.wait()
    two_processes.run(wait_for_another_training, tmp_path)
    thread.join()


def compare_answers(rank: int, _: Path) -> None:
    assert ask_main_process(partial(str, f"of rank {rank}")) == "of rank 0"


def test_the_main_process_decides(tmp_path: Path) -> None:
    assert ask_main_process(lambda: 5) == 5
    two_processes.run(compare_answers, tmp_path)
