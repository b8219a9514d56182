# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""A folder of safetensors shards under one manifest: written once, resumable, never half-read.

``manifest.json`` names the format, what the content was computed from (``source``), and every
shard with its size and SHA-256; it carries a hash of itself. While the folder is being written the
manifest says ``"complete": false``, and each shard that is safe on disk has a note beside it, which
the finished manifest takes in: what a shard costs does not grow with their number, and several
processes can write. Every file arrives by an atomic rename, so a process may be killed at any
moment: the same call then goes on with the shards that are missing, and the finished folder has the
same bytes.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from torch import Tensor
from tqdm import tqdm

Writer = TypeVar("Writer", bound="ShardedWriter")

FORMAT_VERSION = 3
MANIFEST = "manifest.json"
SHARD = ".safetensors"
NOTE = SHARD + ".json"
PARTIAL = ".partial"

MUCH = 1 << 30
"""int: Bytes from which on verifying shows its progress."""


class DamagedStoreError(ValueError):
    """The bytes of a store are not those that were written."""


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
            entry = _read_note(self.folder / f"{name}{NOTE}")
            return not path.is_symlink() and _sha256(path) == entry["sha256"]
        except (OSError, ValueError, KeyError, TypeError):
            return False  # no note, or a damaged one: the shard is written again

    def entries(self) -> dict[str, dict[str, Any]]:
        """Return what is recorded of each shard, by name, in order."""
        if self.complete:
            return dict(self.manifest["files"])
        notes = {x.name.removesuffix(NOTE): x for x in self.folder.glob(f"*{NOTE}")}
        return {name: _read_note(path) for name, path in sorted(notes.items())}

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


def encode_manifest(manifest: dict[str, Any]) -> bytes:
    """Return the bytes of ``manifest.json``, with the manifest's hash in them."""
    content = {**manifest, "manifest_sha256": manifest_hash(manifest)}
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def read_manifest(folder: str | Path, kind: str, allow_incomplete: bool = False) -> dict[str, Any]:
    """Read and check the manifest of a folder.

    Args:
        folder (str or Path): The folder.
        kind (str): What it must hold.
        allow_incomplete (bool): Whether an interrupted folder will do. Defaults to False.

    Returns:
        dict: The manifest.

    Raises:
        FileNotFoundError: No such folder, or it holds no manifest.
        DamagedStoreError: The manifest is not what was written.
        ValueError: Another kind, another format version, or not complete.
    """
    path = Path(folder) / MANIFEST
    tool = f"tools/extract_{kind}.py"
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} holds no {MANIFEST}, so it is not a folder of {kind}. Give the folder that "
            f"{tool} wrote, or run it."
        )
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        recorded = manifest["manifest_sha256"]
        content = {k: v for k, v in manifest.items() if k != "manifest_sha256"}
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise DamagedStoreError(
            f"{path} is damaged: {error!r}. Run {tool} again with --overwrite."
        ) from None
    if recorded != manifest_hash(content):
        raise DamagedStoreError(
            f"{path} is damaged or was edited: its own hash does not match. Run {tool} again with "
            "--overwrite."
        )
    if content["kind"] != kind:
        raise ValueError(
            f"{folder} holds {content['kind']}, expected {kind}. Give the right folder."
        )
    if content["version"] != FORMAT_VERSION:
        raise ValueError(
            f"{folder} has format version {content['version']}, this mmdptr reads version "
            f"{FORMAT_VERSION}. Run {tool} again, or install the mmdptr that wrote it."
        )
    if not content["complete"] and not allow_incomplete:
        raise ValueError(
            f"{folder} is not complete: {sum(1 for _ in Path(folder).glob(f'*{NOTE}'))} shards are "
            f"written. Run the same {tool} command again, it goes on from there."
        )
    return content


def verify(
    folder: str | Path, manifest: dict[str, Any], names: Iterable[str] | None = None
) -> None:
    """Compare every byte of shards with the recorded SHA-256.

    Args:
        folder (str or Path): The folder.
        manifest (dict): Its manifest.
        names (Iterable[str], optional): Which shards. Defaults to None: all.

    Raises:
        DamagedStoreError: A shard is missing or differs; the message names it.
    """
    entries = {k: manifest["files"][k] for k in (manifest["files"] if names is None else names)}
    size = sum(entry["bytes"] for entry in entries.values())
    with tqdm(
        total=size, desc=f"Verifying {folder}", unit="B", unit_scale=True, disable=size < MUCH
    ) as progress:
        for name, entry in entries.items():
            path = checked_path(folder, name, entry)
            if _sha256(path, progress) != entry["sha256"]:
                raise DamagedStoreError(
                    f"{path} is damaged: its SHA-256 is not the recorded one. Delete it and run "
                    f"tools/extract_{manifest['kind']}.py with --overwrite, or copy the folder "
                    "again."
                )


def open_shard(folder: str | Path, name: str, manifest: dict[str, Any]) -> dict[str, Tensor]:
    """Map a shard's tensors into memory; nothing is read before it is used.

    Raises:
        DamagedStoreError: The shard is missing, cut off, or not a safetensors file.
    """
    path = checked_path(folder, name, manifest["files"][name])
    try:
        with safe_open(path, framework="pt") as shard:
            return {key: shard.get_tensor(key) for key in shard.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise DamagedStoreError(f"{path} is damaged: {error}.") from error


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` so that ``path`` holds either all of it or what it held before."""
    partial = path.with_name(path.name + PARTIAL)
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def checked_path(folder: str | Path, name: str, entry: dict[str, Any]) -> Path:
    """Return where a shard lies, after a glance at it.

    Raises:
        DamagedStoreError: It is missing, a link, or of another size.
    """
    path = Path(folder) / f"{name}{SHARD}"
    if path.is_symlink():
        raise DamagedStoreError(
            f"{path} is a link to {path.readlink()}, expected a file: what a link leads to may "
            "change without the store. Copy the file here."
        )
    if not path.is_file():
        raise DamagedStoreError(f"{path} is missing, though {MANIFEST} lists it. Copy it again.")
    if path.stat().st_size != entry["bytes"]:
        raise DamagedStoreError(
            f"{path} has {path.stat().st_size} bytes, expected {entry['bytes']}: it is cut off or "
            "was replaced. Copy it again."
        )
    return path


def _read_note(path: Path) -> dict[str, Any]:
    note = json.loads(path.read_text(encoding="utf-8"))
    if note["entry_sha256"] != manifest_hash(note["entry"]):
        raise DamagedStoreError(
            f"{path} is damaged: its own hash does not match. Run the same command again, it "
            "writes that shard anew."
        )
    return note["entry"]


def _sha256(path: Path, progress: tqdm | None = None) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
            if progress is not None:
                progress.update(len(block))
    return digest.hexdigest()


def manifest_hash(content: dict[str, Any]) -> str:
    """Return the SHA-256 of a manifest; it covers the hashes of all shards, so of all content.

    A shard's entry has one of its own as long as it lies in a note.
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


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
