# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""CLIP on another device than texts, images and what is written, as on a GPU."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mmdptr.clip import CLIPImageEncoder, CLIPTextEncoder, Prompt, load_clip
from mmdptr.datasets.label_filter import LabelFilter
from mmdptr.embeddings import ORPBank, TextEmbeddingStore
from mmdptr.extraction import (
    LiveTextEmbeddings,
    extract_orp_bank,
    extract_text_embeddings,
    find_images,
)
from tests.second_device import second_device

TINY = {"model": "mmdptr-tiny", "pretrained": "random"}
WORDS = "dog\ncat\nincomprehensibilities\na photograph\n"


@pytest.mark.parametrize(
    "options", [{}, {"keep_padding": True}, {"joint_space": True}], ids=lambda x: "".join(x)
)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_text_embeddings(tmp_path: Path, options: dict[str, Any], precision: str) -> None:
    corpus = tmp_path / "words.txt"
    corpus.write_text(WORDS)

    def extract(device: str) -> TextEmbeddingStore:
        clip = load_clip(**TINY, device=device, precision=precision)
        encoder = CLIPTextEncoder(clip, Prompt(spelling="characters"), **options)
        extract_text_embeddings([corpus], tmp_path / device, encoder, LabelFilter())
        return TextEmbeddingStore(tmp_path / device)

    ours = extract("cpu")
    with second_device() as device:
        theirs = extract(device.type)
    assert theirs.labels() == ours.labels()
    assert len(ours) == 4
    for i in range(4):
        torch.testing.assert_close(theirs.memory(i), ours.memory(i), rtol=1e-2, atol=5e-3)
        assert torch.equal(theirs.token_ids(i), ours.token_ids(i))


def test_orp_bank(image_folder: Path, tmp_path: Path) -> None:
    def extract(device: str) -> ORPBank:
        encoder = CLIPImageEncoder(load_clip(**TINY, device=device))
        extract_orp_bank(find_images(image_folder), tmp_path / device, encoder)
        return ORPBank(tmp_path / device)

    ours = extract("cpu")
    with second_device() as device:
        theirs = extract(device.type)
    assert len(theirs) == len(ours) == 5
    everywhere = ([0, 1, 2, 3, 4], [0, 7, 21, 40, 49])
    torch.testing.assert_close(
        theirs.tokens(*everywhere), ours.tokens(*everywhere), rtol=1e-2, atol=1e-3
    )


def test_live_text_embeddings(tmp_path: Path) -> None:
    corpus = tmp_path / "words.txt"
    corpus.write_text(WORDS)
    ours = LiveTextEmbeddings([str(corpus)], clip=TINY)
    with second_device() as device:
        theirs = LiveTextEmbeddings([str(corpus)], clip={**TINY, "device": device.type})
        found = theirs.memories(range(4), False)
    for (memory, *_), (known, *_) in zip(found, ours.memories(range(4), False), strict=True):
        assert type(memory) is Tensor  # which a worker's queue can take
        torch.testing.assert_close(memory, known, rtol=1e-2, atol=1e-3)
