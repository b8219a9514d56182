# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Writing a sharded folder; :mod:`.sharded_folder` says what it is."""

import hashlib
import json
from contextlib import ExitStack, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
from torch import Tensor

from .beginning import find_begun, lock_folder
from .sharded_folder import (
    FORMAT_VERSION,
    MANIFEST,
    NOTE,
    PARTIAL,
    SHARD,
    encode_manifest,
    file_sha256,
    manifest_hash,
    read_note,
    write_atomically,
)

Writer = TypeVar("Writer", bound="ShardedWriter")


class ShardedWriter:
    """Writes a sharded folder, or goes on writing one that was interrupted.

    Subclasses set ``kind``, and in ``shards`` how their shards are named: nothing else is deleted
    when a folder is begun anew.

    Args:
        folder (str or Path): Where to write; created if missing.
        source (dict): JSON-able description of all that the content depends on. A folder that was
            begun with another one is refused.
        overwrite (bool): Whether to begin anew if the folder is finished, damaged or of another
            source; one that was interrupted is gone on with. Files that are not part of it stay,
            and a folder of another kind is refused. Defaults to False.
        joins (bool): Whether another process, which is to finish the folder, has begun it from the
            same source and waits for this one. Defaults to False.
        locked (bool): Whether the caller holds the folder's lock, see :func:`lock_folder`.
            Defaults to False.

    Raises:
        ValueError: The folder was written from another source, or holds other files.
        RuntimeError: Another process is writing the folder.
    """

    kind: str
    shards: tuple[str, ...]

    def __init__(
        self,
        folder: str | Path,
        source: dict[str, Any],
        overwrite: bool = False,
        joins: bool = False,
        locked: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.manifest: dict[str, Any]
        source = json.loads(json.dumps(source))  # as it will read back: tuples become lists
        fresh = {"kind": self.kind, "version": FORMAT_VERSION, "complete": False, "source": source}
        self._lock = ExitStack()
        if joins:
            self.manifest = find_begun(folder, self.kind, source) or fresh
            return
        if not locked:
            self._lock.enter_context(lock_folder(folder))
        try:
            begun = find_begun(folder, self.kind, source, overwrite)
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
                (self.folder / (MANIFEST + PARTIAL)).unlink(missing_ok=True)
        except BaseException:
            self.close()
            raise

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
        paths = [path for shard in self.shards for path in self.folder.glob(f"{shard}{NOTE}")]
        notes = {path.name.removesuffix(NOTE): path for path in paths}
        return {name: read_note(path) for name, path in sorted(notes.items())}

    def add(self, name: str, tensors: dict[str, Tensor], **notes: Any) -> None:
        """Write one shard.

        Args:
            name (str): Its name.
            tensors (dict[str, Tensor]): Its content.
            **notes: JSON-able facts about this shard that the manifest keeps.

        Raises:
            ValueError: It is not named like the shards of this kind.
            OSError: The disk is full or not writable. What was written before stays good.
        """
        if not any(fnmatchcase(name, shard) for shard in self.shards):
            raise ValueError(
                f"The shard is named {name!r}, those of {self.kind} are named like "
                f"{' or '.join(self.shards)}. Name it so, lest others' files be taken for shards."
            )
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

    def discard(self) -> None:
        """Delete what was written, and the folder if nothing else is in it."""
        self._remove(NOTE)  # first, so that a folder of which some is left takes any source
        self._remove(SHARD)
        (self.folder / MANIFEST).unlink()
        with suppress(OSError):
            self.folder.rmdir()

    def close(self) -> None:
        """Let other processes write the folder."""
        self._lock.close()

    def _remove(self, suffix: str) -> None:
        for shard in self.shards:
            for file in self.folder.glob(f"{shard}{suffix}*"):
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
