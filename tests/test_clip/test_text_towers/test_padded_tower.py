# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mmdptr.clip import CLIPTextEncoder, LoadedCLIP
from mmdptr.clip.text_towers import CausalTower, PaddedTower

LABELS = ["hello", "a", "sun", "it's", "incomprehensible", "мир", ""]
SIGLIP = {"no_causal_mask": True, "pool_type": "last", "proj_bias": True}


def assert_same_as_open_clip(encoder: CLIPTextEncoder, prefix_is_shared: bool) -> None:
    """Compare with the tower's last states, caught behind its last block."""
    clip = encoder.clip
    tower = getattr(clip.model, "text", clip.model)
    found: list[Tensor] = []
    hook = tower.transformer.register_forward_hook(lambda *args: found.append(args[-1]))
    ids = clip.tokenizer([encoder.prompt(label) for label in LABELS])
    with torch.inference_mode():
        pooled = clip.model.encode_text(ids)
        states = tower.ln_final(found[0])
    hook.remove()
    features = encoder.encode(LABELS)
    torch.testing.assert_close(features.pooled, pooled, atol=1e-5, rtol=0)
    for i, own in enumerate(features.tokens.split(features.lengths.tolist())):
        end = ids.shape[1] if encoder.keep_padding else len(encoder.tokenize(LABELS[i]))
        expected = states[i, end - len(own) : end]
        torch.testing.assert_close(own, expected, atol=1e-5, rtol=0, msg=LABELS[i])
        if not prefix_is_shared and encoder.keep_padding:
            assert len(own) == ids.shape[1]
    assert bool(features.prefix_lengths.any()) == prefix_is_shared


@pytest.mark.parametrize("keep_padding", [False, True])
@pytest.mark.parametrize(
    "config",
    [
        {"text": {"no_causal_mask": True}},
        {"text": {"no_causal_mask": True, "pool_type": "last"}, "custom_text": True},
        {"text": {"pool_type": "last"}},
        {"text": {"pool_type": "first"}, "custom_text": True},
        {"text": {"embed_cls": True, "context_length": 30}, "custom_text": True},
        {"text": {"qk_norm": True}},
    ],
    ids=str,
)
def test_features_are_those_of_open_clip(
    make_clip: Callable[..., LoadedCLIP], config: dict[str, Any], keep_padding: bool
) -> None:
    encoder = CLIPTextEncoder(make_clip(**config), keep_padding=keep_padding)
    assert isinstance(encoder.tower, PaddedTower)
    if config["text"].get("embed_cls"):  # the class token stands behind the text
        ids = encoder.clip.tokenizer([encoder.prompt(label) for label in LABELS])
        expected = encoder.clip.model.encode_text(ids)
        torch.testing.assert_close(encoder.encode(LABELS).pooled, expected, atol=1e-5, rtol=0)
    else:
        assert_same_as_open_clip(encoder, prefix_is_shared=False)


@pytest.mark.parametrize(
    ("text", "tower"),
    [
        ({**SIGLIP, "tokenizer_kwargs": {"clean": "canonicalize"}}, PaddedTower),
        (
            {
                "no_causal_mask": True,
                "pool_type": "last",
                "tokenizer_kwargs": {"strip_sep_token": True},
            },
            PaddedTower,
        ),
        ({"pool_type": "eos", "eos_id": 2}, CausalTower),
    ],
    ids=["SigLIP", "CLIPA", "MetaCLIP 2"],
)
def test_families_with_other_tokenizers(
    make_clip: Callable[..., LoadedCLIP],
    tokenizer_folder: Callable[[str], Path],
    text: dict[str, Any],
    tower: type,
) -> None:
    folder = str(tokenizer_folder("$A </s>" if tower is PaddedTower else "<s> $A </s>"))
    text = {**text, "hf_tokenizer_name": folder, "context_length": 40, "vocab_size": 200}
    encoder = CLIPTextEncoder(make_clip(text=text, custom_text=True))
    assert isinstance(encoder.tower, tower)
    assert encoder.context_length == 40
    assert_same_as_open_clip(encoder, prefix_is_shared=tower is CausalTower)
