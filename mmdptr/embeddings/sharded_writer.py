# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Writing a sharded folder; :mod:`.sharded_folder` says what it is."""

import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
from filelock import FileLock, Timeout
from torch import Tensor

from .sharded_folder import (
    FORMAT_VERSION,
    MANIFEST,
    NOTE,
    PARTIAL,
    SHARD,
    encode_manifest,
    file_sha256,
    manifest_hash,
    read_manifest,
    read_note,
    write_atomically,
)

Writer = TypeVar("Writer", bound="ShardedWriter")


class ShardedWriter:
    """Writes a sharded folder, or goes on writing one that was interrupted.

    Args:
        folder (str or Path): Where to write; created if missing.
        kind (str): What the folder holds, e.g. ``'text_embeddings'``.
        source (dict): JSON-able description of all that the content depends on. A folder that was
            begun with another one is refused.
        overwrite (bool): Whether to begin anew if the folder is finished, damaged or of another
            source; one that was interrupted is gone on with. Files that are not part of a store
            stay. Defaults to False.
        joins (bool): Whether another process, which is to finish the folder, has begun it from the
            same source and waits for this one. Defaults to False.

    Raises:
        ValueError: The folder was written from another source, or holds other files.
        RuntimeError: Another process is writing the folder.
    """

    def __init__(
        self,
        folder: str | Path,
        kind: str,
        source: dict[str, Any],
        overwrite: bool = False,
        joins: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.manifest: dict[str, Any]
        source = json.loads(json.dumps(source))  # as it will read back: tuples become lists
        fresh = {"kind": kind, "version": FORMAT_VERSION, "complete": False, "source": source}
        self._lock: FileLock | None = None
        if joins:
            self.manifest = self._begun(fresh, overwrite=False) or fresh
            return
        # The lock lies beside the folder: it is not part of what is written.
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        resolved = self.folder.resolve()
        self._lock = FileLock(resolved.with_name(f".{resolved.name}.lock"))
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RuntimeError(
                f"{self.folder} is being written by another process. Wait for it, or write to "
                "another folder."
            ) from None
        try:
            begun = self._begun(fresh, overwrite)
            self.manifest = begun or fresh
            self.folder.mkdir(parents=True, exist_ok=True)
            if begun is None:
                # In this order: killed in between, it leaves no other source's notes, and no
                # manifest that calls a folder complete which is not.
                self._remove(NOTE)
                self._write_manifest()
                self._remove(SHARD)
            elif self.complete:  # a run may have been killed after that, or before it began anew
                self._remove(NOTE)
                self._remove(MANIFEST + PARTIAL)
        except BaseException:
            self.close()
            raise

    def _begun(self, fresh: dict[str, Any], overwrite: bool) -> dict[str, Any] | None:
        """The manifest of an earlier, interrupted or finished run of the same source."""
        path = self.folder / MANIFEST
        if not path.exists():
            # Killed at its very beginning, a run leaves the manifest's partial file alone.
            if any(file.name != MANIFEST + PARTIAL for file in self.folder.glob("*")):
                raise ValueError(
                    f"{self.folder} is not empty and holds no {MANIFEST}. Choose an empty or a new "
                    "folder."
                )
            return None
        try:
            old = read_manifest(self.folder, fresh["kind"], allow_incomplete=True)
        except ValueError:
            if overwrite:
                return None
            raise
        if not old["complete"] and not any(self.folder.glob(f"*{NOTE}")):
            return None  # begun, but nothing is written yet
        if old["source"] == fresh["source"] and not (overwrite and old["complete"]):
            return old
        if overwrite:
            return None
        raise ValueError(
            f"{self.folder} was written from another source; these differ: "
            f"{_differences(old['source'], fresh['source'])}. Choose another folder, or pass "
            "--overwrite (overwrite=True) to replace it."
        )

    @property
    def complete(self) -> bool:
        """bool: Whether nothing is left to write."""
        return bool(self.manifest["complete"])

    def has(self, name: str) -> bool:
        """Whether the shard ``name`` is safe on disk, with the bytes that were written."""
        path = self.folder / f"{name}{SHARD}"
        try:
            entry = read_note(self.folder / f"{name}{NOTE}")
            return not path.is_symlink() and file_sha256(path) == entry["sha256"]
        except (OSError, ValueError, KeyError, TypeError):
            return False  # no note, or a damaged one: the shard is written again

    def entries(self) -> dict[str, dict[str, Any]]:
        """Return what is recorded of each shard, by name, in order."""
        if self.complete:
            return dict(self.manifest["files"])
        notes = {x.name.removesuffix(NOTE): x for x in self.folder.glob(f"*{NOTE}")}
        return {name: read_note(path) for name, path in sorted(notes.items())}

    def add(self, name: str, tensors: dict[str, Tensor], **notes: Any) -> None:
        """Write one shard.

        Args:
            name (str): Its name.
            tensors (dict[str, Tensor]): Its content.
            **notes: JSON-able facts about this shard that the manifest keeps.

        Raises:
            OSError: The disk is full or not writable. What was written before stays good.
        """
        data = safetensors.torch.save(tensors)
        self._write(f"{name}{SHARD}", data)
        entry = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), **notes}
        note = {"entry": entry, "entry_sha256": manifest_hash(entry)}
        self._write(f"{name}{NOTE}", json.dumps(note, ensure_ascii=False).encode())

    def finish(self, **fields: Any) -> None:
        """Mark the folder complete and record ``fields`` about its whole content."""
        files = self.entries()
        self.manifest = {**self.manifest, **fields, "complete": True, "files": files}
        self._write_manifest()
        self._remove(NOTE)

    def close(self) -> None:
        """Let other processes write the folder."""
        if self._lock is not None:
            self._lock.release()

    def _remove(self, kind: str) -> None:
        for file in self.folder.glob(f"*{kind}*"):
            file.unlink()

    def __enter__(self: Writer) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write_manifest(self) -> None:
        self._write(MANIFEST, encode_manifest(self.manifest))

    def _write(self, name: str, data: bytes) -> None:
        path = self.folder / name
        try:
            write_atomically(path, data)
        except OSError as error:
            raise OSError(
                error.errno,
                f"{path} could not be written ({error.strerror}). All shards before it are safe: "
                "make room and run the same command again, it goes on from there",
            ) from error


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
