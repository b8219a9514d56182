# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Stores and banks through any history of runs that are killed, damage, and readers meanwhile."""

import contextlib
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mmdptr.embeddings import ORPBank, ORPBankWriter, TextEmbeddingStore, TextEmbeddingWriter
from mmdptr.embeddings.sharded_reader import ShardedReader
from mmdptr.embeddings.sharded_writer import ShardedWriter

from ..interruption import Killed, read_bytes

SOURCE = {"keep_padding": False}


def add_labels(writer: TextEmbeddingWriter, name: str) -> None:
    """Two labels of two tokens each."""
    number = float(name[-1])
    tokens, two = torch.full((4, 3), number), torch.tensor([2, 2])
    labels = [f"{name} é", "x"]
    writer.add_labels(
        name, labels, tokens[:2], tokens, two, two, torch.arange(4), refused=[("y", "too long")]
    )


def add_prefix(writer: TextEmbeddingWriter, name: str) -> None:
    writer.add_prefix(torch.ones(2, 3), torch.arange(2))


def add_images(writer: ORPBankWriter, name: str) -> None:
    writer.add_images(name, torch.full((2, 4, 3), float(name[-1])), skipped=["y.txt"])


class Store:
    """A tiny store: how it is written, shard by shard, and read."""

    names = [f"labels-{i:05d}" for i in range(3)]
    stray = "labels-00009"
    shards: dict[str, Callable] = {**dict.fromkeys(names, add_labels), "prefix": add_prefix}
    reader: type[ShardedReader] = TextEmbeddingStore

    @staticmethod
    def writer(folder: Path, overwrite: bool = False, **source: Any) -> ShardedWriter:
        return TextEmbeddingWriter(folder, {**SOURCE, **source}, overwrite)

    @staticmethod
    def content(reader: Any) -> list[Any]:
        return [reader.labels(), *(reader.memory(i, True).tolist() for i in range(len(reader)))]


class Bank:
    """The same of a tiny bank."""

    names = [f"images-{i:05d}" for i in range(3)]
    stray = "images-00009"
    shards: dict[str, Callable] = dict.fromkeys(names, add_images)
    reader: type[ShardedReader] = ORPBank

    @staticmethod
    def writer(folder: Path, overwrite: bool = False, **source: Any) -> ShardedWriter:
        return ORPBankWriter(folder, {**SOURCE, **source}, overwrite)

    @staticmethod
    def content(reader: Any) -> list[Any]:
        return [reader.tokens(i, range(reader.num_tokens)).tolist() for i in range(len(reader))]


@contextlib.contextmanager
def killed_at(number: int, renamed: bool, torn: float) -> Iterator[None]:
    """Die at a file that is renamed or removed, just before or after; what was written is torn."""
    count = 0

    def dying(change: Callable) -> Callable:
        def change_or_die(path: Path, *args: Any, **options: Any) -> None:
            nonlocal count
            count += 1
            if count != number + 1 or renamed:
                change(path, *args, **options)
            if count == number + 1:
                if path.suffix == ".partial" and path.exists():
                    os.truncate(path, int(torn * path.stat().st_size))
                raise Killed

        return change_or_die

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", dying(Path.replace))
        patch.setattr(Path, "unlink", dying(Path.unlink))
        yield


class Runs(RuleBasedStateMachine):
    """Whatever happens, what is finished has the bytes of an undisturbed run."""

    kind: Any

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.folder = self.root / "folder"
        self.safe: set[str] = set()  # written, so they must not be written again
        self.run_to_the_end(self.root / "whole")
        self.whole = read_bytes(self.root / "whole")
        self.source = json.loads(self.whole["manifest.json"])["source"]
        self.content = self.kind.content(self.kind.reader(self.root / "whole"))
        self.safe.clear()

    def teardown(self) -> None:
        try:
            self.run_to_the_end(self.folder, self.is_of_another_source)
            assert read_bytes(self.folder) == self.whole
        finally:
            shutil.rmtree(self.root)

    @property
    def finished(self) -> bool:
        path = self.folder / "manifest.json"
        return path.exists() and path.read_bytes() == self.whole["manifest.json"]

    @property
    def is_of_another_source(self) -> bool:
        path = self.folder / "manifest.json"
        return path.exists() and json.loads(path.read_text())["source"] != self.source

    def run_to_the_end(self, folder: Path, overwrite: bool = False) -> None:
        with self.kind.writer(folder, overwrite) as writer:  # leaving it only frees the lock
            for name, add in self.kind.shards.items():
                if not writer.complete and not writer.has(name):
                    assert name not in self.safe
                    add(writer, name)
                    self.safe.add(name)
            if not writer.complete:
                writer.finish(total=len(self.kind.shards))

    @rule(
        overwrite=st.booleans(),
        number=st.integers(0, 14),
        renamed=st.booleans(),
        torn=st.floats(0, 1),
    )
    def run_that_may_be_killed(
        self, overwrite: bool, number: int, renamed: bool, torn: float
    ) -> None:
        overwrite = overwrite or self.is_of_another_source
        if overwrite and self.finished:
            self.safe.clear()  # it begins anew
        with killed_at(number, renamed, torn):
            try:
                self.run_to_the_end(self.folder, overwrite)
            except Killed:
                return
        assert read_bytes(self.folder) == self.whole

    @rule(number=st.integers(0, 9), renamed=st.booleans())
    def overwrite_by_another_source(self, number: int, renamed: bool) -> None:
        """It has a shard that this one has not, and is killed sooner or later, or not finished."""
        with killed_at(number, renamed, torn=1.0), contextlib.suppress(Killed):  # noqa: SIM117
            with self.kind.writer(self.folder, True, other=True) as writer:
                self.kind.shards[self.kind.names[0]](writer, self.kind.stray)
        if not self.finished:
            self.safe.clear()

    @precondition(lambda self: self.folder.exists() and not self.finished)
    @rule(data=st.data(), flip=st.integers(1, 255))
    def byte_of_an_unfinished_shard_or_note_changes(self, data: st.DataObject, flip: int) -> None:
        paths = [path for path in sorted(self.folder.glob("*.safetensors*")) if path.stat().st_size]
        if paths:
            path = data.draw(st.sampled_from(paths))
            content = bytearray(path.read_bytes())
            content[data.draw(st.integers(0, len(content) - 1))] ^= flip
            path.write_bytes(content)
            self.safe.discard(path.name.split(".")[0])

    @invariant()
    def only_what_is_finished_is_read(self) -> None:
        for verify_checksums in (False, True, "all"):
            if self.finished:
                reader = self.kind.reader(self.folder, verify_checksums)
                assert self.kind.content(reader) == self.content
            else:
                with pytest.raises((ValueError, FileNotFoundError), match=r"not complete|holds no"):
                    self.kind.reader(self.folder, verify_checksums)


@pytest.mark.parametrize("kind", [Store, Bank])
def test_any_sequence_of_runs_kills_and_damage(kind, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda file: None)  # a kill does not empty the page cache
    machine = type(f"{kind.__name__}Runs", (Runs,), {"kind": kind}).TestCase
    machine.settings = settings(
        max_examples=25,
        stateful_step_count=10,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    machine().runTest()


@pytest.mark.parametrize("kind", [Store, Bank])
@pytest.mark.parametrize("renamed", [False, True])
@pytest.mark.parametrize("number", range(6))  # two notes, the manifest, two shards, the next shard
def test_overwriting_is_killed_anywhere(kind, tmp_path, monkeypatch, number, renamed):
    monkeypatch.setattr(os, "fsync", lambda file: None)
    write = kind.shards[kind.names[0]]
    with kind.writer(tmp_path / "whole") as writer:
        write(writer, kind.names[0])
        writer.finish()
    folder = tmp_path / "folder"
    with kind.writer(folder, other=True) as writer:
        write(writer, kind.names[0])
        write(writer, kind.stray)  # which does not belong to what comes
    with pytest.raises(Killed), killed_at(number, renamed, torn=0.5):  # noqa: SIM117
        with kind.writer(folder, overwrite=True) as writer:
            write(writer, kind.names[0])
    source = json.loads((folder / "manifest.json").read_bytes())["source"]
    with kind.writer(folder, overwrite="other" in source) as writer:
        if not writer.has(kind.names[0]):
            write(writer, kind.names[0])
        writer.finish()
    assert read_bytes(folder) == read_bytes(tmp_path / "whole")


@pytest.mark.parametrize("kind", [Store, Bank])
def test_any_changed_byte_of_a_note_is_found(kind, tmp_path, monkeypatch):
    """It would go into the manifest, which has a good hash then."""
    monkeypatch.setattr(os, "fsync", lambda file: None)
    with kind.writer(tmp_path) as writer:
        kind.shards[kind.names[0]](writer, kind.names[0])
        assert writer.has(kind.names[0])
        note = tmp_path / f"{kind.names[0]}.safetensors.json"
        good = note.read_bytes()
        for position in range(len(good)):
            note.write_bytes(good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :])
            assert not writer.has(kind.names[0])
            with pytest.raises((ValueError, KeyError)):
                writer.entries()


@pytest.mark.parametrize("kind", [Store, Bank])
def test_readers_while_a_writer_goes_on(kind, tmp_path):
    folder, done = tmp_path / "folder", threading.Event()
    with kind.writer(folder) as writer:
        next(iter(kind.shards.values()))(writer, kind.names[0])

    def read() -> None:
        while True:
            last = done.is_set()
            try:
                found.append(kind.content(kind.reader(folder)))
            except ValueError as error:
                found.append(str(error))
            if last:
                return

    found: list[Any] = []
    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        with kind.writer(folder) as writer:
            for name, add in kind.shards.items():
                time.sleep(0.02)
                if not writer.has(name):
                    add(writer, name)
            writer.finish()
            time.sleep(0.02)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    expected = kind.content(kind.reader(folder))
    errors = [x for x in found if x != expected]
    assert errors
    assert len(errors) < len(found)
    assert all("folder is not complete" in str(error) for error in errors)
