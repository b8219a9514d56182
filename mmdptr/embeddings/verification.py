# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Verifying a folder each time it is opened, without reading it each time."""

import contextlib
import json
import time
from pathlib import Path
from typing import Any

from .sharded_folder import (
    MANIFEST,
    DamagedStoreError,
    checked_path,
    encode_manifest,
    manifest_hash,
    verify,
    write_atomically,
)

CLOCK_STEP = 2.0
"""float: Seconds in which a file may change twice and keep its times: file systems count in steps,
the longest of which are FAT's."""


def verify_changed(folder: str | Path, manifest: dict[str, Any], again: bool = False) -> None:
    """Compare every byte of those shards that have changed since they were last verified.

    A hidden file beside the folder remembers size, times and inode of each shard that was found
    good. Any write changes the ctime, which no program can set back as it can the mtime. Where
    that file cannot be written, all shards are compared each time. A disk that loses bits by itself
    changes no time: ``again`` finds that.

    Args:
        folder (str or Path): The folder.
        manifest (dict): Its manifest.
        again (bool): Whether to compare the other shards, too. Defaults to False.

    Raises:
        DamagedStoreError: A file is missing or not what was written; the message names it.
    """
    path = Path(folder) / MANIFEST
    if path.read_bytes() != encode_manifest(manifest):
        raise DamagedStoreError(
            f"{path} is damaged or was edited: it says the same, but in other bytes. Run "
            f"tools/extract_{manifest['kind']}.py again with --overwrite, or copy it again."
        )
    resolved = Path(folder).resolve()
    memory = resolved.with_name(f".{resolved.name}.verified")
    known = _read(memory, manifest)
    # Before they are read: what is written meanwhile is seen the next time.
    latest = time.time_ns() - CLOCK_STEP * 1e9
    stamps = {k: _stamp(checked_path(folder, k, entry)) for k, entry in manifest["files"].items()}
    verify(folder, manifest, [k for k in stamps if again or stamps[k] != known.get(k)])
    good = {k: stamp for k, stamp in stamps.items() if stamp["ctime_ns"] < latest}
    if good != known:
        data = {"manifest_sha256": manifest_hash(manifest), "files": good}
        # Several processes may write at once. What they leave is good, or no JSON, or nothing.
        with contextlib.suppress(OSError):
            write_atomically(memory, json.dumps(data, indent=1).encode())


def _read(memory: Path, manifest: dict[str, Any]) -> dict[str, dict[str, int]]:
    try:
        data = json.loads(memory.read_bytes())
        return dict(data["files"]) if data["manifest_sha256"] == manifest_hash(manifest) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # none, or damaged: all shards are compared


def _stamp(path: Path) -> dict[str, int]:
    stat = path.stat()
    return {
        "bytes": stat.st_size,
        "mtime_ns": stat.st_mtime_ns,
        "ctime_ns": stat.st_ctime_ns,
        "inode": stat.st_ino,
    }
