# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import errno
import os
from pathlib import Path
from typing import Any

import pytest

from mmdptr.clip import CLIPImageEncoder, CLIPTextEncoder
from mmdptr.datasets.label_filter import LabelFilter
from mmdptr.embeddings import ORPBank, TextEmbeddingStore
from mmdptr.extraction import extract_orp_bank, extract_text_embeddings, find_images

from ..builders import words
from ..interruption import read_bytes


def extraction(kind: str, clip: Any, images: Path, corpus: Path) -> tuple[Any, Any]:
    """A function that extracts to a folder, in five shards, and what reads that."""
    if kind == "bank":
        encoder, files = CLIPImageEncoder(clip), find_images(images)
        return lambda folder: extract_orp_bank(files, folder, encoder, shard_size=1), ORPBank
    corpus.write_text("\n".join(words(10)))
    text_encoder = CLIPTextEncoder(clip)
    return lambda folder: extract_text_embeddings(
        [corpus], folder, text_encoder, LabelFilter(), shard_size=2
    ), TextEmbeddingStore


@pytest.mark.parametrize("room", [0, 1, 2, 5, 10, 11])
@pytest.mark.parametrize("kind", ["store", "bank"])
def test_full_disk_stops_it_and_room_lets_it_go_on(
    tiny_clip, image_folder, tmp_path, monkeypatch, kind, room
):
    extract, reader = extraction(kind, tiny_clip, image_folder, tmp_path / "words.txt")
    extract(tmp_path / "whole")
    folder, written, fsync = tmp_path / "folder", 0, os.fsync

    def fill(file: int) -> None:
        nonlocal written
        written += 1
        if written > room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(file)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fill)
        with pytest.raises(OSError, match=r"No space left.*run the same command again") as error:
            extract(folder)
    assert error.value.errno == errno.ENOSPC
    assert not list(folder.glob("*.partial"))
    # The manifest is written first, then for each shard the shard and its note.
    notes = sorted(folder.glob("*.safetensors.json"))
    assert len(notes) == max(0, (room - 1) // 2)
    safe = {note.with_suffix(""): note.with_suffix("").stat().st_mtime_ns for note in notes}
    with pytest.raises((ValueError, FileNotFoundError), match=r"not complete|holds no manifest"):
        reader(folder)
    extract(folder)
    assert read_bytes(folder) == read_bytes(tmp_path / "whole")
    assert safe == {path: path.stat().st_mtime_ns for path in safe}
