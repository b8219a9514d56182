# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import errno
import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmdptr.embeddings import (
    DamagedStoreError,
    ORPBank,
    TextEmbeddingStore,
    TextEmbeddingWriter,
    manifest_hash,
    sharded_folder,
    verification,
)

from ..builders import words, write_bank, write_store
from ..interruption import read_bytes

CLOCK_STEP = 0.02
LABELS = words(6)
SHARDS = ["labels-00000", "labels-00001", "prefix"]
FILES = [
    (TextEmbeddingStore, "manifest.json"),
    *((TextEmbeddingStore, f"{name}.safetensors") for name in SHARDS),
    (ORPBank, "manifest.json"),
    (ORPBank, "images-00000.safetensors"),
    (ORPBank, "images-00001.safetensors"),
]


@pytest.fixture(autouse=True)
def short_step(monkeypatch):
    """The clock of the file systems that tests run on ticks in milliseconds."""
    monkeypatch.setattr(verification, "CLOCK_STEP", CLOCK_STEP)


@pytest.fixture
def folder(tmp_path):
    return write_store(tmp_path / "store", LABELS, width=3, shard_size=3)


@pytest.fixture
def hashed(monkeypatch):
    """The names of the shards that are read, in order."""
    names = []
    sha256 = sharded_folder.file_sha256

    def note(path: Path, *args: Any) -> str:
        names.append(path.stem)
        return sha256(path, *args)

    monkeypatch.setattr(sharded_folder, "file_sha256", note)
    return names


def remember(folder: Path, reader: Any = TextEmbeddingStore) -> Path:
    """Open a folder after a while; return the file of what is remembered."""
    time.sleep(1.5 * CLOCK_STEP)
    manifest = reader(folder).manifest
    memory = folder.with_name(f".{folder.name}.verified")
    assert json.loads(memory.read_text())["files"].keys() == manifest["files"].keys()
    return memory


def flip(path: Path, position: int, by: int = 1, keep_mtime: bool = False) -> None:
    """Change a byte in place: size and inode stay."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ by]))
    if keep_mtime:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def rewrite_manifest(folder: Path, **changes: Any) -> None:
    """Change the manifest like another, consistent program."""
    path = folder / "manifest.json"
    content = {**json.loads(path.read_text()), **changes}
    del content["manifest_sha256"]
    path.write_text(json.dumps({**content, "manifest_sha256": manifest_hash(content)}))


@pytest.mark.parametrize(("reader", "name"), FILES)
@settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), by=st.integers(1, 255), keep_mtime=st.booleans())
def test_any_changed_byte_is_found_at_the_next_opening(
    tmp_path, reader, name, data, by, keep_mtime
):
    folder = tmp_path / "folder"
    if not folder.exists() and reader is ORPBank:
        write_bank(folder, images=4, tokens=3, width=3)
    elif not folder.exists():
        write_store(folder, LABELS, width=3, shard_size=3)
    remember(folder, reader)
    path = folder / name
    position = data.draw(st.integers(0, path.stat().st_size - 1))
    flip(path, position, by, keep_mtime)
    for verify_checksums in (True, "all", True):
        with pytest.raises(DamagedStoreError, match=f"{name} is damaged"):
            reader(folder, verify_checksums)
    flip(path, position, by)
    reader(folder)


@pytest.mark.parametrize("verify_checksums", [True, "all"])
def test_white_space_of_the_manifest_counts(folder, verify_checksums):
    path = folder / "manifest.json"
    content = path.read_bytes()
    for position in (i for i, byte in enumerate(content) if byte in b" \n"):
        for byte in b"\t\r":
            path.write_bytes(content[:position] + bytes([byte]) + content[position + 1 :])
            with pytest.raises(DamagedStoreError, match=r"manifest\.json is damaged"):
                TextEmbeddingStore(folder, verify_checksums)


def test_only_what_has_changed_is_read_again(folder, hashed):
    remember(folder)
    assert hashed == SHARDS
    TextEmbeddingStore(folder)
    assert hashed == SHARDS
    (folder / "prefix.safetensors").touch()
    TextEmbeddingStore(folder)
    assert hashed == [*SHARDS, "prefix"]
    remember(folder)
    TextEmbeddingStore(folder)
    assert hashed == [*SHARDS, "prefix", "prefix"]
    TextEmbeddingStore(folder, "all")
    assert hashed == [*SHARDS, "prefix", "prefix", *SHARDS]


def test_what_was_just_written_is_not_remembered(folder, hashed, monkeypatch):
    """It could change in the same tick of the clock, unseen."""
    monkeypatch.setattr(verification, "CLOCK_STEP", 1000.0)
    for _ in range(2):
        TextEmbeddingStore(folder)
    assert hashed == 2 * SHARDS


def test_change_while_it_is_read_is_found_next_time(folder, monkeypatch):
    sha256 = sharded_folder.file_sha256

    def change_after(path: Path, *args: Any) -> str:
        digest = sha256(path, *args)
        flip(path, 100)
        return digest

    time.sleep(1.5 * CLOCK_STEP)
    with monkeypatch.context() as patch:
        patch.setattr(sharded_folder, "file_sha256", change_after)
        verification.verify_changed(folder, sharded_folder.read_manifest(folder, "text_embeddings"))
    time.sleep(1.5 * CLOCK_STEP)
    with pytest.raises(DamagedStoreError, match="labels-00000"):
        TextEmbeddingStore(folder)


def test_all_finds_what_no_time_tells(folder, monkeypatch):
    """A byte that the disk has lost by itself."""
    remember(folder)
    stamp = verification._stamp
    stamps = {path: stamp(path) for path in folder.glob("*.safetensors")}
    flip(folder / "prefix.safetensors", -1 + (folder / "prefix.safetensors").stat().st_size)
    monkeypatch.setattr(verification, "_stamp", stamps.__getitem__)
    TextEmbeddingStore(folder)
    with pytest.raises(DamagedStoreError, match="prefix"):
        TextEmbeddingStore(folder, "all")


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_read_only_place_is_verified_each_time(folder, hashed, monkeypatch, number):
    def refuse(path: Path, data: bytes) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(verification, "write_atomically", refuse)
    for _ in range(2):
        time.sleep(1.5 * CLOCK_STEP)
        TextEmbeddingStore(folder)
    assert hashed == 2 * SHARDS
    assert [path.name for path in folder.parent.glob(".*")] == [".store.lock"]


MEMORIES = [
    json.dumps({"manifest_sha256": "OURS", "files": files})
    for files in (3, None, [], {}, {"prefix": 3})
]


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", "\0", *MEMORIES])
def test_damaged_memory_is_no_hindrance(folder, hashed, content):
    memory = remember(folder)
    sha256 = json.loads((folder / "manifest.json").read_text())["manifest_sha256"]
    memory.write_text(content.replace("OURS", sha256))
    remember(folder)
    assert hashed == 2 * SHARDS


def test_memory_is_of_one_content_at_one_place(folder, hashed):
    remember(folder)
    shutil.copytree(folder, folder.with_name("copy"))
    remember(folder.with_name("copy"))
    assert hashed == 2 * SHARDS
    # Another store gets the name, and with it the memory of this one.
    write_store(folder.with_name("other"), LABELS, width=3, shard_size=3, clip="b")
    shutil.rmtree(folder)
    folder.with_name("other").rename(folder)
    remember(folder)
    assert hashed == 3 * SHARDS


def test_many_open_it_at_once(folder, hashed):
    time.sleep(1.5 * CLOCK_STEP)
    with ThreadPoolExecutor(8) as threads:
        stores = list(threads.map(TextEmbeddingStore, [folder] * 32))
    assert all(store.labels() == LABELS for store in stores)
    hashed.clear()
    remember(folder)
    remember(folder)
    assert hashed in ([], SHARDS)  # all may have failed to write it, but none wrote nonsense


def link_out(folder: Path) -> None:
    path = folder / "prefix.safetensors"
    shutil.move(path, folder.parent / "elsewhere")
    path.symlink_to(folder.parent / "elsewhere")


def foreign_manifest(folder: Path, labels: list[str]) -> None:
    other = write_store(folder.with_name("other"), labels, width=3, shard_size=3)
    shutil.copy(other / "manifest.json", folder)


def cut_off(folder: Path) -> None:
    os.truncate(folder / "prefix.safetensors", 100)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (link_out, r"prefix\.safetensors is a link to .*elsewhere, expected a file.*Copy"),
        (lambda folder: foreign_manifest(folder, LABELS[:4]), r"labels-00001\..* has \d+ bytes"),
        # The same sizes.
        (
            lambda folder: foreign_manifest(folder, [x[::-1] for x in LABELS]),
            r"labels-00000\.safetensors is damaged: its SHA-256",
        ),
        (lambda folder: rewrite_manifest(folder, version=1), "has format version 1"),
        (lambda folder: rewrite_manifest(folder, kind="orp_bank"), "holds orp_bank, expected"),
        (lambda folder: rewrite_manifest(folder), r"manifest\.json is damaged or was edited"),
        (cut_off, r"prefix\.safetensors has 100 bytes, expected"),
        (lambda folder: (folder / "prefix.safetensors").unlink(), r"prefix.* is missing"),
    ],
)
@pytest.mark.parametrize("verify_checksums", [True, "all"])
def test_what_was_verified_before_is_refused_after(folder, change, message, verify_checksums):
    remember(folder)
    change(folder)
    with pytest.raises(ValueError, match=message):
        TextEmbeddingStore(folder, verify_checksums)


def test_linked_folder_is_read(folder, hashed):
    remember(folder)
    folder.with_name("link").symlink_to(folder)
    TextEmbeddingStore(folder.with_name("link"))
    assert hashed == SHARDS  # it is the same place


def test_writer_puts_a_file_where_a_link_led_out(folder):
    expected = read_bytes(folder)
    source = json.loads(expected["manifest.json"])["source"]
    other = folder.with_name("other")
    with TextEmbeddingWriter(other, source) as writer:
        shard = sharded_folder.open_shard(
            folder, "prefix", sharded_folder.read_manifest(folder, "text_embeddings")
        )
        writer.add("prefix", shard)
        link_out(other)
        assert not writer.has("prefix")
        before = (other.parent / "elsewhere").stat().st_mtime_ns
        writer.add("prefix", shard)
        assert writer.has("prefix")
    assert not (other / "prefix.safetensors").is_symlink()
    assert (other.parent / "elsewhere").stat().st_mtime_ns == before


def test_progress_is_shown_if_it_takes_long(folder, monkeypatch, capsys):
    TextEmbeddingStore(folder)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sharded_folder, "MUCH", 1)
    TextEmbeddingStore(folder, "all")
    assert f"Verifying {folder}: 100%" in capsys.readouterr().err
