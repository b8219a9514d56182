# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from mmdptr.clip import CLIPTextEncoder, Prompt, character_ends, merge_characters
from mmdptr.writing import graphemes

LABELS = ["হ্যালো", "নমস্কার", "汉字", "日本語", "naïve", "hello", "привет", "a", "สวัสดี"]


@pytest.fixture(scope="module")
def encoder(clip):
    return CLIPTextEncoder(clip, Prompt(spelling="characters"))


def merged(encoder, labels):
    sentences = [encoder.tokenize(label) for label in labels]
    ends = [character_ends(encoder, *pair) for pair in zip(labels, sentences, strict=True)]
    return merge_characters(encoder.encode_ids(sentences), ends)


def test_every_character_is_one_token(encoder):
    features = merged(encoder, LABELS)
    # The closing quote and the end of text follow.
    assert features.lengths.tolist() == [len(graphemes(label)) + 2 for label in LABELS]
    assert len(features.tokens) == len(features.token_ids) == features.lengths.sum()


def test_a_character_is_the_mean_of_its_tokens(encoder):
    (plain, whole) = encoder.encode(["汉字"]), merged(encoder, ["汉字"])
    first, second, *rest = whole.tokens
    parts = plain.lengths.item() - 2
    sizes = [len(encoder.sentences.encode_prefix(x)) - 1 for x in "汉字"]
    assert sum(sizes) == parts > 2
    torch.testing.assert_close(first, plain.tokens[: sizes[0]].mean(0))
    torch.testing.assert_close(second, plain.tokens[sizes[0] : parts].mean(0))
    torch.testing.assert_close(torch.stack(rest), plain.tokens[parts:])
    torch.testing.assert_close(whole.pooled, plain.pooled)


def test_equal_characters_have_equal_ids_and_others_others(encoder):
    ids = merged(encoder, ["汉字汉", "字"]).token_ids.tolist()
    assert ids[0] == ids[2] != ids[1] == ids[5]
    assert all(i < -1 for i in ids[:3])


def test_latin_letters_stay_as_they_are(encoder):
    assert character_ends(encoder, "hello", encoder.tokenize("hello")) == []
    plain = encoder.encode(["hello"])
    assert merge_characters(plain, [[]]) is plain


@pytest.mark.parametrize(
    "settings", [{"prompt": Prompt()}, {"prompt": Prompt(spelling="characters"), "padding": True}]
)
def test_whole_words_and_the_memory_of_the_paper_stay_as_they_are(clip, settings):
    encoder = CLIPTextEncoder(clip, settings["prompt"], settings.get("padding", False))
    assert character_ends(encoder, "汉字", encoder.tokenize("汉字")) == []
