# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The folder of a pre-trained decoder: who may write it, and where an interrupted run goes on."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar
from zipfile import is_zipfile

from filelock import FileLock, Timeout
from mmengine.dist import barrier, broadcast_object_list, is_main_process
from mmengine.logging import print_log

PATIENCE = 2.0
"""float: Seconds between two signs of life, far less than what a process group waits for one."""

Answer = TypeVar("Answer")


def ask_main_process(question: Callable[[], Answer]) -> Answer:
    """Return what the main process finds in all of them; on a network drive they may differ."""
    answer = [question() if is_main_process() else None]
    broadcast_object_list(answer)
    return answer[0]  # type: ignore[return-value]


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other trainings out of a cache folder; they wait, and find the decoder there.

    The main process asks for the lock, and tells the others every few seconds whether it has it:
    left alone for the hours of another training, they would end by the timeout of their group.
    """
    lock = FileLock(folder.with_suffix(".lock"))
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not ask_main_process(partial(_acquire, lock, 0)):
        print_log(f"Another training runs stage 1 in {folder}; waiting for it.", "current")
        while not ask_main_process(partial(_acquire, lock, PATIENCE)):
            pass
    try:
        yield
        barrier()  # the first process writes the decoder, all load it
    finally:
        lock.release()


def _acquire(lock: FileLock, seconds: float) -> bool:
    try:
        lock.acquire(timeout=seconds)
    except Timeout:
        return False
    return True


def find_checkpoint(folder: Path) -> Path | None:
    """Return the checkpoint that an interrupted training in the folder goes on from.

    It is the one that MMEngine has noted last or, where that is gone or was not written to its end,
    the newest one that was.
    """
    note = folder / "last_checkpoint"
    if not note.is_file():
        return None
    noted = Path(note.read_text().strip())
    if _is_whole(noted):
        return noted
    others = [*folder.glob("epoch_*.pth"), *folder.glob("iter_*.pth")]
    newest_first = sorted(others, key=lambda path: path.stat().st_mtime_ns, reverse=True)
    found = next(filter(_is_whole, newest_first), None)
    print_log(
        f"{note} names {str(noted)!r}, which is missing or cut off. "
        + (f"Going on from {found}." if found else "No other checkpoint is there: beginning anew."),
        "current",
        logging.WARNING,
    )
    return found


def _is_whole(path: Path) -> bool:
    """Whether a checkpoint was written to its end, where the directory of its archive stands."""
    return path.is_file() and is_zipfile(path)
