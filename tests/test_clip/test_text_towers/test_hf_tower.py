# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mmdptr.clip import CLIPTextEncoder, LoadedCLIP, Prompt
from mmdptr.clip.text_towers import HFTower
from mmdptr.datasets import LabelFilter, TextEmbeddingDataset
from mmdptr.extraction import extract_text_embeddings

from .conftest import FAMILIES

LABELS = ["hello", "a", "it's", "दुनिया", "мир", "日本語", "مرحبا", "世界", "", "a test"]


@pytest.fixture(scope="module", params=FAMILIES)
def clip(request: pytest.FixtureRequest, make_hf_clip: Callable[[str], LoadedCLIP]) -> LoadedCLIP:
    return make_hf_clip(request.param)


@pytest.mark.parametrize("keep_padding", [False, True])
def test_features_are_those_of_open_clip(clip: LoadedCLIP, keep_padding: bool) -> None:
    encoder = CLIPTextEncoder(clip, keep_padding=keep_padding)
    assert isinstance(encoder.tower, HFTower)
    ids = clip.tokenizer([encoder.prompt(label) for label in LABELS])
    mask = (ids != 1).long()
    with torch.inference_mode():
        pooled = clip.model.encode_text(ids)
        states = clip.model.text.transformer(input_ids=ids, attention_mask=mask).last_hidden_state
    features = encoder.encode(LABELS)
    torch.testing.assert_close(features.pooled, pooled, atol=1e-5, rtol=0)
    rows = features.tokens.split(features.lengths.tolist())
    row_ids = features.token_ids.split(features.lengths.tolist())
    for i, (label, own) in enumerate(zip(LABELS, rows, strict=True)):
        sentence = encoder.tokenize(label)
        assert ids[i, : len(sentence)].tolist() == sentence
        start = 0 if keep_padding else len(sentence) - len(own)
        assert row_ids[i].tolist() == ids[i, start : start + len(own)].tolist()
        assert start <= len(encoder.prefix_ids)
        seen = len(sentence) - start
        expected = states[i, start : len(sentence)]
        torch.testing.assert_close(own[:seen], expected, atol=1e-5, rtol=0, msg=label)
        if keep_padding:
            assert len(own) == clip.tokenizer.context_length
    assert features.prefix_lengths.tolist() == [0] * len(LABELS)
    assert encoder.prefix_features().shape == (0, 32)


def test_own_tokens_are_those_behind_the_prompt(clip: LoadedCLIP) -> None:
    encoder = CLIPTextEncoder(clip)
    decode = clip.tokenizer.tokenizer.decode
    for label in ("hello", "мир"):
        features = encoder.encode([label])
        own = decode(features.token_ids.tolist(), skip_special_tokens=True)
        assert label in own.replace(" ", "")
        assert "photo" not in own


def test_joint_space_projects_the_tokens(clip: LoadedCLIP) -> None:
    plain, joint = (CLIPTextEncoder(clip, joint_space=x) for x in (False, True))
    assert (plain.token_width, joint.token_width, plain.pooled_width) == (32, 24, 24)
    with torch.inference_mode():
        expected = clip.model.text.proj(plain.encode(LABELS).tokens)
    torch.testing.assert_close(joint.encode(LABELS).tokens, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("keep_padding", [False, True])
def test_a_store_holds_the_memories(clip: LoadedCLIP, keep_padding: bool, tmp_path: Path) -> None:
    labels = [label for label in LABELS if label]
    (tmp_path / "words.txt").write_text("\n".join(labels), encoding="utf-8")
    encoder = CLIPTextEncoder(clip, keep_padding=keep_padding, joint_space=True)
    corpora = [tmp_path / "words.txt"]
    extract_text_embeddings(corpora, tmp_path / "store", encoder, LabelFilter(letter_case="lower"))
    dataset = TextEmbeddingDataset(str(tmp_path / "store"), split="all")
    found = {sample["text"]: sample["embedding"] for sample in map(dataset.__getitem__, range(9))}
    for label in labels:
        features = encoder.encode([label])
        memory = torch.cat([features.pooled, features.tokens]).half()
        torch.testing.assert_close(torch.as_tensor(found[label]), memory, atol=2e-3, rtol=1e-2)
        assert not keep_padding or len(memory) == 1 + clip.tokenizer.context_length


def test_too_long_is_refused_and_named(clip: LoadedCLIP) -> None:
    with pytest.raises(ValueError, match=r"'h e l l o h.*takes \d+ tokens, more than the 77"):
        CLIPTextEncoder(clip, Prompt(spelling="characters")).encode(["hello" * 30])
