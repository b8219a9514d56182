# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import pytest
import torch
from mmocr.registry import MODELS

from mmdptr.clip import load_clip
from mmdptr.models import CLIPTextBranch


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "clip.pt"
    torch.save(load_clip("mmdptr-tiny", "random", seed=3).model.state_dict(), path)
    return path


def branch(**options: Any) -> CLIPTextBranch:
    found = MODELS.build(
        {"type": "CLIPTextBranch", "model": "mmdptr-tiny", "frozen_stages": 2, **options}
    )
    if "pretrained" in options:
        found.init_weights()
    return found


def test_texts_are_encoded_as_by_clip(weights: Path) -> None:
    clip = load_clip("mmdptr-tiny", "random", seed=3)
    with torch.no_grad():
        found = branch(pretrained=str(weights))(["Hello!", "naïve", "", "x" * 200])
        assert found.shape == (4, 16, 256)
        for number, text in enumerate(["hello", "nave", ""]):
            expected = clip.model.encode_text(clip.tokenizer([text]))[0]
            end = clip.tokenizer([text]).argmax()
            torch.testing.assert_close(found[number, end], expected)


def test_text_branch_needs_weights_only_to_begin() -> None:
    branch()
    with pytest.raises(FileNotFoundError, match=r"no/such\.pt"):
        branch(pretrained="no/such.pt")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context_length": 78}, "context_length is 78, but the context of .* has 77 tokens"),
        ({"frozen_stages": 4}, "frozen_stages is 4, but 'mmdptr-tiny' has 3 blocks"),
    ],
)
def test_what_cannot_be_built_says_why(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        branch(**options)
