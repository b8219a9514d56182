# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
from typing import Any

import numpy as np
import pytest
import torch
from mmocr.registry import MODELS

from mmdptr.models import DPTRLoss, TypesetPretrainer
from tests.builders import END, WIDTH, nrtr, sample, spelled, words

SHAPE = (WIDTH, 1, 16)


def build(embed_dims: int = 24, feature_shape: Any = SHAPE, **changes: Any) -> TypesetPretrainer:
    torch.manual_seed(0)
    recognizer = nrtr(neck={"type": "FMU", "dropout": 0.0})
    parts = {name: recognizer[name] for name in ("encoder", "neck", "decoder")}
    settings = {**parts, "embed_dims": embed_dims, "feature_shape": feature_shape, **changes}
    settings = {name: value for name, value in settings.items() if value is not None}
    return MODELS.build({"type": "TypesetPretrainer", **settings})


def batch(texts: list[str], width: int = 24) -> dict[str, Any]:
    memories = [spelled(text, width) for text in texts]
    return {
        "inputs": [torch.cat([x.mean(0)[None], x]) for x in memories],
        "data_samples": [
            sample(
                text, memory_length=len(text) + 2, token_ids=np.array([-1, *map(ord, text), END])
            )
            for text in texts
        ],
    }


def test_a_recognizer_takes_everything_but_the_projection() -> None:
    model, recognizer = build(), MODELS.build(nrtr(neck={"type": "FMU"}))
    ours = {k: v.shape for k, v in model.state_dict().items() if not k.startswith("projection.")}
    theirs = {k: v.shape for k, v in recognizer.state_dict().items() if k.startswith(model.parts)}
    assert ours == theirs
    assert {name.split(".")[0] for name in theirs} == {"encoder", "neck", "decoder"}
    assert type(model.decoder.module_loss) is DPTRLoss


def test_settings_of_the_text_go_over_those_that_it_has() -> None:
    model = build(feature_shape=(WIDTH, 2, 8), data_preprocessor={"strokes": 2, "blur": 0.5})
    text = model.data_preprocessor
    assert (text.shape, text.strokes, text.blur, text.noise) == ((2, 8), 2, 0.5, 30.0)


def test_every_parameter_learns() -> None:
    model = build().train()
    data = model.data_preprocessor(batch(words(8)), training=True)
    loss, _ = model.parse_losses(model(**data, mode="loss"))
    loss.backward()
    silent = [k for k, v in model.named_parameters() if v.grad is None or not v.grad.any()]
    assert silent == []


def test_it_learns_to_read_typeset_words() -> None:
    model = build(data_preprocessor={"type": "TypesetPreprocessor", "shape": [1, 16], "noise": 3.0})
    texts = ["dog", "cat", "g0d", "tact", "at", "a"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(150):
        data = model.train().data_preprocessor(batch(texts), training=True)
        loss, _ = model.parse_losses(model(**data, mode="loss"))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    read = model.eval()(**model.data_preprocessor(batch(texts)), mode="predict")
    assert [x.pred_text.item for x in read] == texts


@pytest.mark.parametrize(
    ("feature_shape", "encoder", "features"),
    [
        ((WIDTH, 2, 8), "own", (3, WIDTH, 2, 8)),
        ((16, WIDTH), None, (3, 16, WIDTH)),  # the encoder's, of a recognizer without backbone
        ((WIDTH, 2, 8), None, (3, WIDTH, 2, 8)),
    ],
)
def test_text_has_the_shape_of_features(
    feature_shape: tuple[int, ...], encoder: str | None, features: tuple[int, ...]
) -> None:
    model = build(feature_shape=feature_shape, **({} if encoder else {"encoder": None}))
    assert model.with_encoder == bool(encoder)
    data = model.data_preprocessor(batch(["dog", "a", "cat"]))
    assert model.extract_feat(data["inputs"]).shape == features
    assert len(model(**data, mode="predict")) == 3


def test_wrong_width_is_named_with_the_fix() -> None:
    model = build()
    data = model.data_preprocessor(batch(["dog"], 32))
    with pytest.raises(ValueError, match=r"width 32, .*embed_dims=24\. Set model\.embed_dims=32"):
        model(**data, mode="loss")


def test_illegible_text_is_no_louder_than_clear() -> None:
    model = build()
    clear = model.data_preprocessor(batch(["dog", "a", "cat"]))["inputs"]
    noisy = clear + 30 * torch.randn_like(clear)
    for maps in (clear, noisy):
        loudness = model.extract_feat(maps).square().mean((1, 2, 3)).sqrt()
        torch.testing.assert_close(loudness, torch.ones(3), atol=1e-4, rtol=0)
    # Nothing but the scale is changed.
    features = model.projection(clear).transpose(1, 2)
    found = model.extract_feat(clear).flatten(2)
    ratios = found / features
    torch.testing.assert_close(ratios, ratios[:, :1, :1].expand_as(ratios), atol=1e-4, rtol=1e-4)
