# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
from functools import partial

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmdptr.clip import CLIPTextEncoder, LoadedCLIP, Prompt, prefix_transformer, text_encoder
from mmdptr.clip.text_encoder import EXCEEDS_CONTEXT

PREFIX_IDS = [49406, 320, 1125, 539, 320, 262]  # <start> a photo of a '

# Labels of all kinds; in the second row the tokenizer merges the beginning with the quote.
LABELS = [
    *("hello", "a", "z", "photograph", "incomprehensibilities", "Straße", "HELLO"),
    *("sun", "trust", "re", "reed", "don't", "ve", "ll", "llama", "d", "dog", "m", "s", "t"),
    *("!", "!:", "&amp;", "a'b", "'", "''", "...", "£5", "$9.99", "{}", "<start_of_text>", "<end>"),
    *("0", "7", "2024", "007", "3d", "c3po"),
    *("é", "naïve", "日本語", "Ωμέγα", "русский", "हिन्दी", "😀", "e\u0301", "ﬁ", "\u200b"),
    *("", " ", "two words", "  spaces  "),
]


def reference(clip: LoadedCLIP, sentences: list[str]) -> tuple[Tensor, Tensor, Tensor]:
    """open_clip's own ids, pooled features and states after `ln_final`, of all 77 positions."""
    tower = getattr(clip.model, "text", clip.model)
    ids = clip.tokenizer(sentences)
    with torch.inference_mode():
        states = (tower.token_embedding(ids) + tower.positional_embedding).to(clip.dtype)
        states = tower.transformer(states, attn_mask=tower.attn_mask)
        return ids, clip.model.encode_text(ids), tower.ln_final(states)


def assert_same_as_open_clip(encoder: CLIPTextEncoder, labels: list[str]) -> None:
    sentences = [encoder.prompt(label) for label in labels]
    ids, pooled, states = reference(encoder.clip, sentences)
    features = encoder.encode(labels)
    prefix = encoder.prefix_features()
    torch.testing.assert_close(features.pooled, pooled, atol=1e-5, rtol=0)
    own_tokens = features.tokens.split(features.lengths.tolist())
    own_ids = features.token_ids.split(features.lengths.tolist())
    for row, (label, own) in enumerate(zip(labels, own_tokens, strict=True)):
        start = int(features.prefix_lengths[row])
        sentence = encoder.tokenize(label)
        assert ids[row].tolist() == sentence + [0] * (77 - len(sentence))
        end = 77 if encoder.keep_padding else len(sentence)
        assert own_ids[row].tolist() == ids[row, start:end].tolist()
        found = torch.cat([prefix[:start], own])
        torch.testing.assert_close(found, states[row, :end], atol=1e-5, rtol=0, msg=repr(label))


@pytest.fixture(scope="module")
def encoder(clip):
    return CLIPTextEncoder(clip)


@pytest.mark.parametrize("spelling", ["word", "characters"])
@pytest.mark.parametrize("keep_padding", [False, True])
def test_features_are_those_of_open_clip(clip, spelling, keep_padding):
    encoder = CLIPTextEncoder(clip, Prompt(spelling=spelling), keep_padding)
    assert_same_as_open_clip(encoder, LABELS)


@pytest.mark.parametrize("template", ["{}", "{} it is", "un{}", "the word {}.", "'s {} s'", "l'{}"])
def test_any_template_gives_the_features_of_open_clip(clip, template):
    assert_same_as_open_clip(CLIPTextEncoder(clip, Prompt(template)), LABELS)


@pytest.mark.parametrize(
    "config",
    [
        {"quick_gelu": True},
        {"custom_text": True},
        {"custom_text": True, "text": {"proj_bias": True}},
        {"text": {"ls_init_value": 0.5}},
        {"text": {"mlp_ratio": 2.0, "heads": 4, "layers": 3}},
        {"text": {"pool_type": "eos", "eos_id": 49407}},
        {"text": {"proj_type": "none"}, "embed_dim": 32},
    ],
    ids=str,
)
def test_other_builds_give_the_features_of_open_clip(make_clip, config):
    assert_same_as_open_clip(CLIPTextEncoder(make_clip(**config)), LABELS[:20])


@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=4))
def test_any_text_gives_the_features_of_open_clip(encoder, labels):
    assert_same_as_open_clip(encoder, [*labels, "end"])


def test_prefix_is_that_of_the_paper(encoder):
    assert encoder.prefix_ids == PREFIX_IDS
    assert encoder.tokenize("hello") == [*PREFIX_IDS, 3306, 262, 49407]


@pytest.mark.parametrize(
    ("label", "prefix_length", "own"),
    [
        ("hello", 6, [3306, 262, 49407]),
        ("sun", 5, [568, 2271, 262, 49407]),  # 's un '
        ("trust", 5, [713, 14212, 262, 49407]),  # 't rust '
        ("d", 5, [1896, 262, 49407]),  # 'd '
        ("!", 5, [6, 13222, 49407]),  # ' !'
        ("", 5, [8445, 49407]),  # ''
    ],
)
def test_merged_quote_is_an_own_token(encoder, label, prefix_length, own):
    assert encoder.tokenize(label) == [*PREFIX_IDS[:prefix_length], *own]
    features = encoder.encode([label])
    assert features.prefix_lengths.tolist() == [prefix_length]
    assert features.lengths.tolist() == [len(own)]


def test_characters_have_a_token_each(clip):
    encoder = CLIPTextEncoder(clip, Prompt(spelling="characters"))
    labels = ["a", "hello", "sun", "llama", "2024", "b2b", "strengths"]
    # One a letter or digit, the closing quote and the end of text.
    assert encoder.encode(labels).lengths.tolist() == [len(label) + 2 for label in labels]


def test_keep_padding_gives_all_77_positions(clip):
    features = CLIPTextEncoder(clip, keep_padding=True).encode(["hello", "sun"])
    assert (features.lengths + features.prefix_lengths).tolist() == [77, 77]


@pytest.mark.parametrize("config", [{}, {"custom_text": True, "text": {"proj_bias": True}}])
def test_joint_space_projects_the_tokens(make_clip, config):
    clip = make_clip(**config)
    plain, joint = CLIPTextEncoder(clip), CLIPTextEncoder(clip, joint_space=True)
    projection = getattr(clip.model, "text", clip.model).text_projection
    with torch.inference_mode():

        def project(x: Tensor) -> Tensor:
            return projection(x) if callable(projection) else x @ projection

        expected, found = plain.encode(LABELS), joint.encode(LABELS)
        torch.testing.assert_close(found.tokens, project(expected.tokens), atol=1e-5, rtol=0)
        torch.testing.assert_close(
            joint.prefix_features(), project(plain.prefix_features()), atol=1e-5, rtol=0
        )
    assert (plain.token_width, joint.token_width, joint.pooled_width) == (32, 24, 24)
    # The last token is the end of text, whose projection is the pooled feature.
    last = found.tokens[found.lengths.cumsum(0) - 1]
    torch.testing.assert_close(last, found.pooled, atol=1e-5, rtol=0)


def test_order_of_labels_does_not_matter(encoder):
    order = torch.randperm(len(LABELS), generator=torch.Generator().manual_seed(0)).tolist()
    first, second = encoder.encode(LABELS), encoder.encode([LABELS[i] for i in order])
    rows = first.tokens.split(first.lengths.tolist())
    torch.testing.assert_close(second.pooled, first.pooled[order], atol=1e-5, rtol=0)
    torch.testing.assert_close(
        second.tokens, torch.cat([rows[i] for i in order]), atol=1e-5, rtol=0
    )
    assert second.lengths.tolist() == first.lengths[order].tolist()
    assert second.prefix_lengths.tolist() == first.prefix_lengths[order].tolist()


@pytest.mark.parametrize("size", [1, 7, 50])
def test_batch_size_does_not_matter(encoder, monkeypatch, size):
    expected = encoder.encode(LABELS)
    monkeypatch.setitem(text_encoder.MAX_TOKENS, "cpu", size)
    found = encoder.encode(LABELS)
    torch.testing.assert_close(found.pooled, expected.pooled, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.tokens, expected.tokens, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [20, 64])
def test_batches_hold_at_most_max_tokens(encoder, monkeypatch, size):
    monkeypatch.setitem(text_encoder.MAX_TOKENS, "cpu", size)
    lengths = [3] * 50 + [4] * 20 + [30]
    batches = list(encoder._batches([6] * len(lengths), lengths))
    assert sorted(row for *_, rows in batches for row in rows) == list(range(len(lengths)))
    assert all(len(rows) * length <= size or len(rows) == 1 for _, length, rows in batches)


def test_nothing_is_computed_twice_or_behind_the_end(make_clip, monkeypatch):
    monkeypatch.setattr(prefix_transformer, "ATTENDING_TOKENS", 1)  # no groups to fill up
    clip = make_clip()
    computed = [0, 0]
    for i, block in enumerate(clip.model.transformer.resblocks):

        def count(module: object, args: tuple[Tensor], i: int = i) -> None:
            computed[i] += args[0].shape[:-1].numel()

        block.mlp.register_forward_pre_hook(count)
    encoder = CLIPTextEncoder(clip)
    assert computed == [6, 6]  # the prefix, once
    features = encoder.encode(LABELS)
    own = sum(len(encoder.tokenize(x)) for x in LABELS) - int(features.prefix_lengths.sum())
    assert computed == [6 + own, 6 + own]
    encoder.prefix_features()
    assert computed == [6 + own, 6 + own]


def test_case_is_lost(encoder):
    lower, upper, title = (encoder.encode([x]) for x in ("hello", "HELLO", "Hello"))
    assert torch.equal(lower.tokens, upper.tokens)
    assert torch.equal(lower.pooled, title.pooled)
    assert not torch.allclose(lower.pooled, encoder.encode(["hallo"]).pooled, atol=1e-3)


@pytest.mark.parametrize("spelling", ["word", "characters"])
def test_too_long_is_refused_and_named(clip, spelling):
    encoder = CLIPTextEncoder(clip, Prompt(spelling=spelling))
    label = "xq" * 40
    assert encoder.fault(encoder.tokenize(label)) == EXCEEDS_CONTEXT
    spelled = " ".join(label) if spelling == "characters" else label
    with pytest.raises(ValueError, match=f"{spelled}.*more than the 77"):
        encoder.encode(["fine", label])


def test_longest_that_fits_is_not_cut(clip):
    encoder = CLIPTextEncoder(clip, Prompt(spelling="characters"))
    label = "b" * (77 - 8)
    assert len(encoder.tokenize(label)) == 77
    assert_same_as_open_clip(encoder, [label])
    with pytest.raises(ValueError, match="takes 78 tokens"):
        encoder.encode([label + "b"])


def test_prompt_without_room_is_refused(clip):
    with pytest.raises(ValueError, match=r"has 81 tokens before the label.*shorter prompt"):
        CLIPTextEncoder(clip, Prompt("go " * 80 + "{}"))


def test_short_context_is_respected(make_clip):
    encoder = CLIPTextEncoder(make_clip(text={"context_length": 16}), keep_padding=True)
    features = encoder.encode(["hello"])
    assert int(features.lengths + features.prefix_lengths) == 16
    with pytest.raises(ValueError, match="more than the 16"):
        encoder.encode(["incomprehensibilities " * 4])


def test_no_labels_give_no_features(encoder):
    features = encoder.encode([])
    assert features.pooled.shape == (0, 24)
    assert features.tokens.shape == (0, 32)
    assert len(features.lengths) == len(features.prefix_lengths) == 0


def test_bf16_is_near_fp32(make_clip):
    exact = CLIPTextEncoder(make_clip()).encode(LABELS)
    clip = make_clip("bf16")
    features = CLIPTextEncoder(clip).encode(LABELS)
    assert features.tokens.dtype == features.pooled.dtype == torch.bfloat16
    _, pooled, _ = reference(clip, [Prompt()(x) for x in LABELS])
    error = (features.pooled.float() - exact.pooled).abs().max()
    # Not further from the truth than open_clip's own bf16.
    assert error < 2 * (pooled.float() - exact.pooled).abs().max()
    torch.testing.assert_close(features.tokens.float(), exact.tokens, atol=0.2, rtol=0)


def test_autocast_is_for_products_alone(make_clip):
    exact = CLIPTextEncoder(make_clip()).encode(LABELS)
    errors = []
    for precision, dtype in (("bf16", torch.bfloat16), ("amp_bf16", torch.float32)):
        encoder = CLIPTextEncoder(make_clip(precision), joint_space=True)
        features = encoder.encode(LABELS)
        assert features.tokens.dtype == features.pooled.dtype == dtype
        assert encoder.prefix_features().dtype == dtype
        errors.append((features.pooled.float() - exact.pooled).abs().mean())
    assert 0 < errors[1] < errors[0]  # normalizations and sums are in float32


def test_autocast_around_the_encoder_does_not_count(encoder):
    expected = encoder.encode(LABELS)
    with torch.autocast("cpu", torch.bfloat16):
        found = encoder.encode(LABELS)
    assert torch.equal(found.tokens, expected.tokens)
    assert torch.equal(found.pooled, expected.pooled)


def test_features_carry_no_gradient(encoder):
    features = encoder.encode(["hello"])
    assert not features.pooled.requires_grad
    assert not features.tokens.requires_grad


def test_other_tokenizers_are_refused(clip):
    foreign = LoadedCLIP(**{**clip.__dict__, "tokenizer": str.split})
    with pytest.raises(ValueError, match=r"is a .*; expected CLIP's byte-pair tokenizer or one of"):
        CLIPTextEncoder(foreign)


def test_compiled_transformer_gives_the_same(tiny_clip: LoadedCLIP, monkeypatch) -> None:
    # What Inductor makes of the graph needs a C++ compiler; the graph does not.
    graphs = []

    def backend(graph: torch.fx.GraphModule, *_: object, **__: object) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    labels = ["hello", "a", "sun", "incomprehensible", "'s", "b"]
    found = CLIPTextEncoder(tiny_clip, compile=True).encode(labels)
    expected = CLIPTextEncoder(tiny_clip).encode(labels)
    torch.testing.assert_close(found.tokens, expected.tokens)
    torch.testing.assert_close(found.pooled, expected.pooled)
    assert 0 < len(graphs) < 5  # not one for every shape
