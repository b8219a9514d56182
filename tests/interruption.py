# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Interrupting what writes folders, and comparing what is left."""

from pathlib import Path

import pytest

from mmdptr.embeddings import sharded_folder


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it, nothing is cleaned up."""


def kill_at(patch: pytest.MonkeyPatch, number: int, renamed: bool = False) -> None:
    """Die at a file that is written, counted from 0: just before, or after, it gets its name."""
    count = 0
    replace = Path.replace

    def die(path: Path, target: Path) -> None:
        nonlocal count
        count += 1
        if count != number + 1 or renamed:
            replace(path, target)
        if count == number + 1:
            raise Killed

    patch.setattr(sharded_folder.Path, "replace", die)


def read_bytes(folder: Path) -> dict[str, bytes]:
    """The content of all files of a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
