# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
import torch

from mmdptr.clip import CLIPImageEncoder, CLIPTextEncoder, Prompt, load_clip, packaged
from mmdptr.clip.text_encoder import UNKNOWN_TOKENS
from mmdptr.datasets import LabelFilter
from mmdptr.extraction import extract_text_embeddings

MODEL = "clip-word-tiny"
SPELLED = Prompt(spelling="characters")
LIMIT = 12e6  # bytes of a file in the package


@pytest.fixture
def original():
    return load_clip(MODEL, "random")


@pytest.fixture
def weights(original, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Packaged weights of a CLIP that has been trained on words of a, b and c."""
    known = set(CLIPTextEncoder(original, SPELLED).tokenize("abc"))
    packaged.pack(original.model.state_dict(), known, tmp_path / f"{MODEL}.safetensors")
    monkeypatch.setattr(packaged, "WEIGHTS", tmp_path)
    return tmp_path / f"{MODEL}.safetensors"


def test_a_packaged_clip_computes_what_the_original_does(original, weights: Path) -> None:
    assert weights.stat().st_size < LIMIT
    loaded = load_clip(MODEL)
    assert loaded.identity.pretrained == "packaged"
    assert len(loaded.identity.file_sha256) == 64
    one, two = (CLIPTextEncoder(x, SPELLED).encode(["cab", "a"]) for x in (original, loaded))
    assert torch.allclose(one.tokens, two.tokens, atol=0.01)
    assert torch.allclose(one.pooled, two.pooled, atol=0.01)
    image = torch.rand(1, 3, 32, 128)
    with torch.inference_mode():
        found = [clip.model.encode_image(image) for clip in (original, loaded)]
    assert torch.allclose(*found, atol=0.01)


def test_a_packed_file_is_loaded_by_its_path(weights: Path, tmp_path: Path) -> None:
    other = tmp_path / "clip-word-abc.safetensors"
    weights.rename(other)
    loaded = load_clip(MODEL, str(other))
    assert loaded.identity.pretrained == other.name
    with pytest.raises(ValueError, match="was trained on few tokens"):
        CLIPTextEncoder(loaded, SPELLED).encode(["dad"])
    for content in (b"", b"damaged" * 100):
        other.write_bytes(content)
        with pytest.raises(RuntimeError, match="could not be loaded"):
            load_clip(MODEL, str(other))


def test_another_size_and_a_text_tower_of_its_own_load_too(weights: Path) -> None:
    loaded = load_clip(MODEL, "packaged", image_size=(32, 64), custom_text=True)
    plain = load_clip(MODEL, "packaged")
    assert loaded.model.visual.image_size == (32, 64)
    found = (CLIPTextEncoder(clip, SPELLED).encode(["abba"]).tokens for clip in (loaded, plain))
    assert torch.equal(*found)
    assert CLIPImageEncoder(loaded) is not None


def test_tokens_that_it_was_not_trained_on_are_refused_by_name(weights: Path) -> None:
    loaded = load_clip(MODEL, "packaged")
    with pytest.raises(ValueError, match=r"cab.*was trained on few tokens.*spelling='characters'"):
        CLIPTextEncoder(loaded, Prompt()).encode(["cab"])
    with pytest.raises(ValueError, match="one that the weights were trained on"):
        CLIPTextEncoder(loaded, Prompt("the word '{}'"))


def test_labels_that_it_does_not_know_are_counted(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("cab\ndad\nabba\n")
    encoder = CLIPTextEncoder(load_clip(MODEL, "packaged"), SPELLED)
    corpora = [tmp_path / "words.txt"]
    report = extract_text_embeddings(corpora, tmp_path / "store", encoder, LabelFilter())
    assert (report.kept, report.dropped[UNKNOWN_TOKENS]) == (2, 1)
    assert report.examples[UNKNOWN_TOKENS] == ["dad"]


def test_a_model_without_packaged_weights_is_named(weights: Path) -> None:
    with pytest.raises(ValueError, match=f"No weights of 'ViT-B-16'.*{MODEL}"):
        load_clip("ViT-B-16", "packaged")


def test_a_damaged_file_is_named(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:10_000])
    with pytest.raises(RuntimeError, match="could not be loaded with pretrained='packaged'"):
        load_clip(MODEL, "packaged")


def test_only_what_float16_holds_is_packed(original, tmp_path: Path) -> None:
    state_dict = original.model.state_dict()
    state_dict["text_projection"] = state_dict["text_projection"] * 1e6
    with pytest.raises(ValueError, match=r"text_projection is not finite"):
        packaged.pack(state_dict, {1}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=r"no 'token_embedding\.weight'"):
        packaged.pack({}, {1}, tmp_path / "x.safetensors")
