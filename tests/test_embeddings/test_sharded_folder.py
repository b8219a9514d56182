# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mmdptr.embeddings import DamagedStoreError, manifest_hash
from mmdptr.embeddings.sharded_folder import (
    FORMAT_VERSION,
    open_shard,
    read_manifest,
    verify,
    write_atomically,
)
from mmdptr.embeddings.sharded_writer import ShardedWriter

from ..interruption import Killed, kill_at, read_bytes

KIND = "numbers"
SOURCE = {"clip": {"model": "tiny", "sha": "a" * 64}, "size": (2, 3), "names": ["ä", "b"]}
SHARDS: dict[str, dict[str, Tensor]] = {
    f"part-{i}": {"x": torch.arange(12.0).view(3, 4).half() + i, "n": torch.tensor([i])}
    for i in range(3)
}


class NumberWriter(ShardedWriter):
    kind = KIND
    shards = ("part-*",)


def write(folder: Path, overwrite: bool = False, **changes: Any) -> list[str]:
    """Write or finish the folder like an extraction; return the names of the shards written."""
    written = []
    with NumberWriter(folder, {**SOURCE, **changes}, overwrite) as writer:
        if not writer.complete:
            for name, tensors in SHARDS.items():
                if not writer.has(name):
                    writer.add(name, tensors, note=f"of {name}")
                    written.append(name)
            writer.finish(total=9)
    return written


def begin(folder: Path) -> None:
    """Leave a folder with all shards, but not finished."""
    shutil.rmtree(folder, ignore_errors=True)
    with NumberWriter(folder, SOURCE) as writer:
        for name, tensors in SHARDS.items():
            writer.add(name, tensors, note=f"of {name}")


def json_of(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None


def rewrite_manifest(folder: Path, **changes: Any) -> None:
    """Change the manifest like another, consistent program."""
    path = folder / "manifest.json"
    content = {**json.loads(path.read_text()), **changes}
    del content["manifest_sha256"]
    content["manifest_sha256"] = manifest_hash(content)
    path.write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "folder")
    return tmp_path / "folder"


def test_what_is_written_is_read(folder):
    manifest = read_manifest(folder, KIND)
    verify(folder, manifest)
    for name, tensors in SHARDS.items():
        shard = open_shard(folder, name, manifest)
        assert shard.keys() == tensors.keys()
        for key, tensor in tensors.items():
            assert shard[key].dtype == tensor.dtype
            assert torch.equal(shard[key], tensor)


def test_manifest_records_everything(folder):
    manifest = read_manifest(folder, KIND)
    assert manifest["source"] == json.loads(json.dumps(SOURCE))
    assert list(manifest["files"]) == ["part-0", "part-1", "part-2"]
    assert manifest["files"]["part-1"]["note"] == "of part-1"
    assert manifest["files"]["part-1"]["bytes"] == (folder / "part-1.safetensors").stat().st_size
    assert manifest["version"] == FORMAT_VERSION
    assert (manifest["complete"], manifest["total"]) == (True, 9)


def test_folder_holds_nothing_else(folder):
    names = [f"part-{i}.safetensors" for i in range(3)]
    assert list(read_bytes(folder)) == ["manifest.json", *names]


def test_same_content_has_the_same_bytes(folder, tmp_path):
    write(tmp_path / "again")
    assert read_bytes(tmp_path / "again") == read_bytes(folder)


def test_finished_folder_is_left_alone(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert write(folder) == []
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


# The files in order: the manifest, then for each shard itself and the manifest, then the manifest.
@pytest.mark.parametrize("renamed", [False, True])
@pytest.mark.parametrize("number", range(8))
def test_killed_at_any_file_it_goes_on(folder, tmp_path, monkeypatch, number, renamed):
    other = tmp_path / "killed"
    kill_at(monkeypatch, number, renamed)
    with pytest.raises(Killed):
        write(other)
    monkeypatch.undo()
    if number < 7 or not renamed:
        with pytest.raises(
            (ValueError, FileNotFoundError), match=r"not complete|holds no manifest"
        ):
            read_manifest(other, KIND)
    safe = max(0, (number + renamed - 1) // 2)
    assert write(other) == list(SHARDS)[safe:]
    assert read_bytes(other) == read_bytes(folder)


def test_only_what_is_missing_is_written_again(tmp_path, monkeypatch):
    kill_at(monkeypatch, 5)
    with pytest.raises(Killed):
        write(tmp_path / "folder")
    monkeypatch.undo()
    assert write(tmp_path / "folder") == ["part-2"]


def test_shard_damaged_before_the_end_is_written_again(folder, tmp_path, monkeypatch):
    other = tmp_path / "killed"
    kill_at(monkeypatch, 5)
    with pytest.raises(Killed):
        write(other)
    monkeypatch.undo()
    shard = other / "part-0.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1] + b"!")
    assert write(other) == ["part-0", "part-2"]
    assert read_bytes(other) == read_bytes(folder)


@pytest.mark.parametrize("number", range(1, 8))
def test_full_disk_keeps_what_was_written(folder, tmp_path, monkeypatch, number):
    other, count, fsync = tmp_path / "full", 0, os.fsync

    def fill(file: int) -> None:
        nonlocal count
        count += 1
        if count > number:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(file)

    monkeypatch.setattr(os, "fsync", fill)
    with pytest.raises(OSError, match=r"full.* could not be written .*No space.*same command") as e:
        write(other)
    assert e.value.errno == errno.ENOSPC
    assert not list(other.glob("*.partial"))
    monkeypatch.undo()
    with NumberWriter(other, SOURCE) as writer:
        entries = writer.entries()
    assert len(entries) == (number - 1) // 2
    verify(other, {"kind": KIND, "files": entries})
    assert write(other) == list(SHARDS)[(number - 1) // 2 :]
    assert read_bytes(other) == read_bytes(folder)


def test_atomic_write_keeps_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def fail(file: int) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="broken"):
        write_atomically(path, b"new")
    assert read_bytes(tmp_path) == {"file": b"old"}


def test_killed_before_the_last_notes_are_removed_it_is_finished(folder, tmp_path, monkeypatch):
    other = tmp_path / "killed"
    unlink = Path.unlink

    def die(path: Path, **settings: Any) -> None:
        if path.name == "part-1.safetensors.json":
            raise Killed
        unlink(path, **settings)

    monkeypatch.setattr(Path, "unlink", die)
    with pytest.raises(Killed):
        write(other)
    monkeypatch.undo()
    verify(other, read_manifest(other, KIND))
    assert len(read_bytes(other)) > len(read_bytes(folder))
    assert write(other) == []
    assert read_bytes(other) == read_bytes(folder)


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b"{}", b"\xff", None])
def test_shard_without_a_good_note_is_written_again(folder, tmp_path, note):
    other = tmp_path / "other"
    begin(other)
    path = other / "part-1.safetensors.json"
    path.unlink() if note is None else path.write_bytes(note)
    assert write(other) == ["part-1"]
    assert read_bytes(other) == read_bytes(folder)


def test_several_processes_fill_one_folder(folder, tmp_path):
    other = tmp_path / "shared"
    with NumberWriter(other, SOURCE) as first:
        with NumberWriter(other, SOURCE, joins=True) as second:
            for i, (name, tensors) in enumerate(SHARDS.items()):
                (first, second)[i % 2].add(name, tensors, note=f"of {name}")
        first.finish(total=9)
    assert read_bytes(other) == read_bytes(folder)
    with NumberWriter(other, SOURCE, joins=True) as third:
        assert third.complete
    with pytest.raises(ValueError, match="written from another source"):
        NumberWriter(other, {**SOURCE, "size": 4}, joins=True)


def test_second_writer_is_refused(tmp_path):
    with NumberWriter(tmp_path / "folder", SOURCE) as writer:
        with pytest.raises(RuntimeError, match="is being written by another process"):
            NumberWriter(tmp_path / "folder", SOURCE)
        (tmp_path / "link").symlink_to(tmp_path / "folder")
        with pytest.raises(RuntimeError, match="is being written by another process"):
            NumberWriter(tmp_path / "link", SOURCE)
        writer.add("part-0", SHARDS["part-0"])
    assert write(tmp_path / "folder") == ["part-1", "part-2"]


def test_refused_writer_does_not_hold_the_lock(folder):
    # An interactive session keeps the last error, and with it the writer.
    with pytest.raises(ValueError, match="another source") as error:
        write(folder, size=4)
    assert write(folder, overwrite=True, size=4) == list(SHARDS)
    del error


def test_current_folder_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write(Path())
    verify(tmp_path / "here", read_manifest(tmp_path / "here", KIND))


@pytest.mark.parametrize("complete", [True, False])
def test_other_source_is_refused_by_what_differs(folder, complete):
    if not complete:
        begin(folder)
    before = read_bytes(folder)
    message = (
        r"these differ: clip\.model is 'tiny' there and 'big' now; "
        r"size is \[2, 3\] there and None now\. .*--overwrite"
    )
    with pytest.raises(ValueError, match=message):
        write(folder, clip={**SOURCE["clip"], "model": "big"}, size=None)
    assert read_bytes(folder) == before


def test_long_differences_are_shortened(folder):
    with pytest.raises(ValueError, match="names is") as error:
        write(folder, names=[f"{i}.jpg" for i in range(10_000)])
    assert len(str(error.value)) < 500


def test_folder_without_a_shard_takes_any_source(folder, tmp_path):
    NumberWriter(tmp_path / "begun", {"size": 99}).close()
    assert write(tmp_path / "begun") == list(SHARDS)
    assert read_bytes(tmp_path / "begun") == read_bytes(folder)


@pytest.mark.parametrize("damage", ["none", "manifest", "shard", "version"])
def test_overwrite_begins_anew(folder, tmp_path, damage):
    write(tmp_path / "new", size=4)
    if damage == "manifest":
        path = folder / "manifest.json"
        path.write_bytes(path.read_bytes()[:100])
    elif damage == "shard":
        (folder / "part-0.safetensors").write_bytes(b"")
    elif damage == "version":
        rewrite_manifest(folder, version=9)
    (folder / "part-7.safetensors").touch()
    assert write(folder, overwrite=True, size=4) == list(SHARDS)
    assert read_bytes(folder) == read_bytes(tmp_path / "new")


def test_overwrite_keeps_what_is_not_ours(folder):
    before = read_bytes(folder)
    others = {
        "notes.txt",
        "model.safetensors",
        "model.safetensors.json",
        "my_manifest.json.partial",
    }
    for name in others:
        (folder / name).write_text("mine")
    assert write(folder, overwrite=True, size=4) == list(SHARDS)
    assert read_bytes(folder).keys() == before.keys() | others
    assert all((folder / name).read_text() == "mine" for name in others)


def test_shard_that_would_not_be_found_again_is_refused(tmp_path):
    with NumberWriter(tmp_path / "folder", SOURCE) as writer:
        with pytest.raises(ValueError, match=r"named 'model', those of numbers .* like part-\*"):
            writer.add("model", SHARDS["part-0"])
        assert not writer.entries()


@pytest.mark.parametrize("others", [[], ["notes.txt"]])
def test_what_is_discarded_is_as_if_never_begun(folder, tmp_path, others):
    other = tmp_path / "other"
    begin(other)
    for name in others:
        (other / name).touch()
    with NumberWriter(other, SOURCE) as writer:
        writer.discard()
    assert [path.name for path in other.glob("*")] == others
    assert other.exists() == bool(others)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("content", ['{"name": "my web app"}', "", None])
def test_manifest_of_others_is_never_overwritten(folder, content, overwrite):
    if content is None:  # a bank, where a store was meant
        rewrite_manifest(folder, kind="letters")
    else:
        (folder / "manifest.json").write_text(content)
    (folder / "model.safetensors").write_text("mine")
    before = read_bytes(folder)
    message = r"folder is not a folder of numbers, its manifest.* begins with b'.*--out"
    with pytest.raises(ValueError, match=message) as error:
        write(folder, overwrite)
    assert ("letters" in str(error.value)) == (content is None)
    assert read_bytes(folder) == before


def test_overwrite_can_be_killed_too(folder, tmp_path, monkeypatch):
    write(tmp_path / "new", size=4)
    kill_at(monkeypatch, 0)
    with pytest.raises(Killed):
        write(folder, overwrite=True, size=4)
    monkeypatch.undo()
    write(folder, overwrite=True, size=4)
    assert read_bytes(folder) == read_bytes(tmp_path / "new")


@pytest.mark.parametrize("overwrite", [False, True])
def test_folder_of_others_is_refused(tmp_path, overwrite):
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(ValueError, match=r"not empty and holds no manifest\.json"):
        write(tmp_path, overwrite)
    assert list(read_bytes(tmp_path)) == ["photo.jpg"]


@pytest.mark.parametrize("missing", ["folder", "manifest"])
def test_no_store_is_named_with_the_tool(tmp_path, missing):
    path = tmp_path / "nothing" if missing == "folder" else tmp_path
    with pytest.raises(FileNotFoundError, match=r"holds no manifest.*tools/extract_numbers\.py"):
        read_manifest(path, KIND)


def test_other_kind_is_refused(folder):
    with pytest.raises(ValueError, match="holds numbers, expected letters"):
        read_manifest(folder, "letters")


def test_other_version_is_refused(folder):
    rewrite_manifest(folder, version=1)
    with pytest.raises(ValueError, match=rf"has format version 1.*reads version {FORMAT_VERSION}"):
        read_manifest(folder, KIND)


def test_incomplete_is_refused(folder):
    begin(folder)
    with pytest.raises(ValueError, match=r"not complete: 3 shards.*goes on from there"):
        read_manifest(folder, KIND)
    assert read_manifest(folder, KIND, allow_incomplete=True)["complete"] is False


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", "3", '"text"', "{}", '{"manifest_sha256": 3}', "\0", "\udcff"],
    ids=ascii,
)
def test_damaged_manifest_is_named(folder, content):
    (folder / "manifest.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(DamagedStoreError, match=r"manifest\.json is damaged.*--overwrite"):
        read_manifest(folder, KIND)


def test_edited_manifest_is_named(folder):
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"total": 9', '"total": 8'))
    with pytest.raises(DamagedStoreError, match=r"manifest\.json is damaged or was edited"):
        read_manifest(folder, KIND)


def test_every_flipped_byte_of_the_manifest_is_found(folder):
    path = folder / "manifest.json"
    good = path.read_bytes()
    manifest = read_manifest(folder, KIND)
    for position in range(len(good)):
        path.write_bytes(good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :])
        if json_of(path.read_bytes()) == json_of(good):  # white space: nothing is damaged
            assert read_manifest(folder, KIND) == manifest
        else:
            with pytest.raises(DamagedStoreError, match=r"manifest\.json is damaged"):
                read_manifest(folder, KIND)


def test_every_flipped_byte_of_a_shard_is_found(folder):
    path, manifest = folder / "part-1.safetensors", read_manifest(folder, KIND)
    good = path.read_bytes()
    for position in range(len(good)):
        path.write_bytes(good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :])
        with pytest.raises(DamagedStoreError, match=r"part-1\.safetensors is damaged: its SHA-256"):
            verify(folder, manifest)
    path.write_bytes(good)
    verify(folder, manifest)


@pytest.mark.parametrize("size", [0, 7, 100, -1])
def test_cut_shard_is_named(folder, size):
    path, manifest = folder / "part-1.safetensors", read_manifest(folder, KIND)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DamagedStoreError, match=r"part-1\.safetensors has \d+ bytes, expected"):
        verify(folder, manifest)
    with pytest.raises(DamagedStoreError, match=r"part-1\.safetensors has \d+ bytes, expected"):
        open_shard(folder, "part-1", manifest)


def test_damaged_header_is_named_without_verification(folder):
    path, manifest = folder / "part-1.safetensors", read_manifest(folder, KIND)
    path.write_bytes(b"\xff" * path.stat().st_size)
    with pytest.raises(DamagedStoreError, match=r"part-1\.safetensors is damaged: "):
        open_shard(folder, "part-1", manifest)


def test_missing_shard_is_named(folder):
    manifest = read_manifest(folder, KIND)
    (folder / "part-1.safetensors").unlink()
    for read in (lambda: verify(folder, manifest), lambda: open_shard(folder, "part-1", manifest)):
        with pytest.raises(DamagedStoreError, match=r"part-1\.safetensors is missing"):
            read()


def test_swapped_shards_are_found(folder):
    a, b, aside = (folder / f"{x}.safetensors" for x in ("part-0", "part-1", "aside"))
    a.rename(aside), b.rename(a), aside.rename(b)
    with pytest.raises(DamagedStoreError, match=r"part-0\.safetensors is damaged"):
        verify(folder, read_manifest(folder, KIND))


def test_folder_can_be_moved(folder, tmp_path):
    shutil.move(folder, tmp_path / "elsewhere")
    verify(tmp_path / "elsewhere", read_manifest(tmp_path / "elsewhere", KIND))
