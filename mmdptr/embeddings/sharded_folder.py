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
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor
from tqdm import tqdm

FORMAT_VERSION = 3
MANIFEST = "manifest.json"
SHARD = ".safetensors"
NOTE = SHARD + ".json"
PARTIAL = ".partial"

MUCH = 1 << 30
"""int: Bytes from which on verifying shows its progress."""


class DamagedStoreError(ValueError):
    """The bytes of a store are not those that were written."""


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
            if file_sha256(path, progress) != entry["sha256"]:
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


def read_note(path: Path) -> dict[str, Any]:
    """Return what is recorded of a shard that is safe on disk, while the folder is not finished.

    Raises:
        FileNotFoundError: No such note.
        DamagedStoreError: It is not what was written.
    """
    note = json.loads(path.read_text(encoding="utf-8"))
    if note["entry_sha256"] != manifest_hash(note["entry"]):
        raise DamagedStoreError(
            f"{path} is damaged: its own hash does not match. Run the same command again, it "
            "writes that shard anew."
        )
    return note["entry"]


def file_sha256(path: Path, progress: tqdm | None = None) -> str:
    """Return the SHA-256 of a file, as hexadecimal digits."""
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
