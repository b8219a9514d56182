# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import itertools
import string

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmdptr.clip import CLIPTextEncoder, Prompt, merge_characters, tokenize_label
from mmdptr.clip.characters import NO_SLOT
from mmdptr.clip.prompt import SPACE
from mmdptr.clip.text_encoder import EXCEEDS_CONTEXT, shared_beginning
from mmdptr.writing import graphemes

LABELS = ["হ্যালো", "নমস্কার", "汉字", "日本語", "naïve", "hello", "привет", "a", "สวัสดี"]


@pytest.fixture(scope="module")
def encoder(clip):
    return CLIPTextEncoder(clip, Prompt(spelling="characters"))


def merged(encoder, labels):
    tokenized = [tokenize_label(encoder, label) for label in labels]
    features = encoder.encode_ids([x.ids for x in tokenized])
    return merge_characters(features, [x.ends for x in tokenized])


def slots(encoder, label):
    """Text of the tokens of each character, and of what follows them."""
    ids, ends, fault = tokenize_label(encoder, label)
    assert fault is None
    start = shared_beginning(ids, encoder.prefix_ids)
    own = len(ids) - start
    bounds = [0, *(own + end for end in ends)] if ends else list(range(len(graphemes(label)) + 1))
    groups = [ids[start + a : start + b] for a, b in itertools.pairwise(bounds)]
    decoder = encoder.clip.tokenizer
    return [decoder.decode(x) for x in groups], decoder.decode(ids[start + bounds[-1] : -1])


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
    assert tokenize_label(encoder, "hello").ends == []
    plain = encoder.encode(["hello"])
    assert merge_characters(plain, [[]]) is plain


@pytest.mark.parametrize(
    "settings", [{"prompt": Prompt()}, {"prompt": Prompt(spelling="characters"), "padding": True}]
)
def test_whole_words_and_the_memory_of_the_paper_stay_as_they_are(clip, settings):
    encoder = CLIPTextEncoder(clip, settings["prompt"], settings.get("padding", False))
    assert tokenize_label(encoder, "汉字").ends == []


@given(st.text(string.ascii_lowercase + string.digits + string.punctuation + "  éж汉ক", min_size=1))
def test_every_slot_holds_its_character(encoder, label):
    """A symbol makes one piece with the prompt's quote, a space vanishes between spaces."""
    if tokenize_label(encoder, label).fault == EXCEEDS_CONTEXT:
        return
    found, rest = slots(encoder, label)
    expected = [SPACE if x == " " else x for x in graphemes(label)]
    assert len(found) == len(expected)
    for text, character in zip(found, expected, strict=True):
        # The quotes stand with the first and the last one where the tokenizer joins them.
        assert text.strip().strip("'") == character.strip("'")
    assert rest.strip() in ("'", "")


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("$100", ["'$", "1", "0", "0"]),
        ("a b", ["a", SPACE, "b"]),
        ("new\tyork", [*"new", SPACE, *"york"]),
        ("stop", ["'s", *"top"]),
    ],
)
def test_symbols_and_spaces_have_slots_of_their_own(encoder, label, expected):
    assert [text.strip() for text in slots(encoder, label)[0]] == expected
    assert merged(encoder, [label]).lengths.item() == len(label) + 2


def test_a_letter_right_before_the_label_stands_in_the_first_slot(clip):
    encoder = CLIPTextEncoder(clip, Prompt("label{}", "characters"))
    assert slots(encoder, "abc")[0] == ["labela ", "b ", "c "]


def test_a_character_that_the_tokenizer_drops_is_a_fault(encoder, monkeypatch):
    """As SigLIP's drops punctuation."""
    encode = encoder.sentences.encode_prefix
    monkeypatch.setattr(
        encoder.sentences, "encode_prefix", lambda sentence: encode(sentence.replace("-", ""))
    )
    monkeypatch.setattr(encoder.sentences, "separates", lambda *_: False)
    assert tokenize_label(encoder, "xray").fault is None
    assert tokenize_label(encoder, "x-ray").fault == NO_SLOT
