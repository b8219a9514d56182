# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Who may write a sharded folder: one run at a time, and never over what is not its own."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from .sharded_folder import MANIFEST, NOTE, PARTIAL, read_manifest


@contextmanager
def lock_folder(folder: str | Path) -> Iterator[None]:
    """Keep other processes from writing a folder, by a hidden file beside it.

    Raises:
        RuntimeError: Another process is writing it.
    """
    resolved = Path(folder).resolve()
    resolved.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(resolved.with_name(f".{resolved.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RuntimeError(
            f"{folder} is being written by another process. Wait for it, or write to another "
            "folder."
        ) from None
    try:
        yield
    finally:
        lock.release()


def find_begun(
    folder: str | Path,
    kind: str,
    source: dict[str, Any],
    overwrite: bool = False,
    partly: bool = False,
) -> dict[str, Any] | None:
    """Return the manifest of an earlier run of the same source, interrupted or finished.

    Args:
        folder (str or Path): The folder.
        kind (str): What it must hold.
        source (dict): What its content depends on, as JSON reads it back.
        overwrite (bool): Whether to begin anew if the folder is finished, damaged or of another
            source. Defaults to False.
        partly (bool): Whether ``source`` is only what is known by now: what it leaves out is taken
            to be the same. Defaults to False.

    Returns:
        dict or None: None if the folder is to be begun.

    Raises:
        ValueError: The folder may not be written: it is of another source, or holds other files.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if not path.exists():
        # Killed at its very beginning, a run leaves the manifest's partial file alone.
        if any(file.name != MANIFEST + PARTIAL for file in folder.glob("*")):
            raise ValueError(
                f"{folder} is not empty and holds no {MANIFEST}. Choose an empty or a new folder."
            )
        return None
    content = path.read_bytes()
    if not re.search(rf'"kind":\s*"{kind}"'.encode(), content):
        raise ValueError(
            f"{folder} is not a folder of {kind}, its {MANIFEST} begins with {content[:60]!r}. It "
            "is not touched, not even with --overwrite. Choose another folder (--out)."
        )
    try:
        old = read_manifest(folder, kind, allow_incomplete=True)
    except ValueError:
        if overwrite:
            return None
        raise
    if not old["complete"] and not any(folder.glob(f"*{NOTE}")):
        return None  # begun, but nothing is written yet
    expected = {**old["source"], **source} if partly else source
    if old["source"] == expected and not (overwrite and old["complete"]):
        return old
    if overwrite:
        return None
    raise ValueError(
        f"{folder} was written from another source; these differ: "
        f"{_differences(old['source'], expected)}. Choose another folder, or pass --overwrite "
        "(overwrite=True) to replace it."
    )


def _differences(old: dict[str, Any], new: dict[str, Any], within: str = "") -> str:
    """Name what differs, by dotted keys, with values cut to a readable length."""
    found = []
    for key in sorted({**old, **new}):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict) and a != b:
            found.append(_differences(a, b, f"{within}{key}."))
        elif a != b:
            found.append(f"{within}{key} is {a!r:.80} there and {b!r:.80} now")
    return "; ".join(found)
