# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Padding is nothing to any recognizer, except where MMOCR's encoder has no mask."""

import math

import pytest
import torch
from torch import Tensor, nn

from mmdptr.models import DPTRRecognizer

from .rows import RATIO, ROWS, build, images, loss_of, samples

SATRN = [row for row in ROWS if row.startswith("satrn")]

READS_PADDING = {
    "SATRNEncoder",  # scales its positions by the mean of the whole map; convolves it
    "ABIEncoder",  # attends to the whole map
    "SVTREncoder",  # reads an image of one size, and attends to all of it
}
"""Encoders before the FMU that MMOCR does not tell what is padding."""


@torch.no_grad()
def readings(model: DPTRRecognizer, inputs: Tensor, *ratios: float) -> list[list[Tensor]]:
    """What the decoder meets of each image, and the probabilities that it makes of that.

    These go up to the end of the text; what follows depends on the other images of the batch.
    """
    feat, out_enc, _ = model.eval()._read(inputs, samples(*ratios))
    layout = model.layout
    behind = layout.site == "out_enc" or layout.in_place_of_encoder
    met = [out_enc] if behind else [feat, out_enc]
    end, found = model.decoder.dictionary.end_idx, []
    for i, x in enumerate(model(inputs, samples(*ratios), mode="tensor")):
        ends = [step for step, k in enumerate(x.argmax(dim=1).tolist()) if k == end]
        read = x[: ends[0] + 1] if ends else x
        found.append([*(memory[i] for memory in met if memory is not None), read])
    return found


def assert_alike(read: list[list[Tensor]], expected: list[list[Tensor]]) -> None:
    torch.testing.assert_close(read, expected, rtol=0.0, atol=1e-5)


def differ(x: Tensor, y: Tensor) -> bool:
    """Whether far more than rounding lies between two tensors."""
    return x.shape != y.shape or bool((x - y).abs().max() > 1e-3)


def with_garbage(features: Tensor, begin: int) -> Tensor:
    """The same map, but for the columns of the first image from one on."""
    garbage = features.clone()
    garbage[0, ..., begin:] = 10 * torch.randn_like(garbage[0, ..., begin:])
    return garbage


@torch.no_grad()
def encoded(model: DPTRRecognizer, features: Tensor, columns: int) -> Tensor:
    """What the FMU meets in the first columns of the first image, which is padded."""
    memory = model._encode(features, samples(RATIO, 1.0))
    tokens, shape = model.layout.tokens(features, memory)
    return tokens[0].unflatten(0, shape)[:, : math.ceil(shape[1] * columns / features.shape[3])]


@pytest.mark.parametrize("row", ROWS)
def test_padding_is_nothing_from_the_fmu_on(row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions see the padding near its border, so it is the FMU that is given the map."""
    model = build(row)
    monkeypatch.setattr(model, "extract_feat", lambda inputs: inputs)
    if model.layout.site == "out_enc":
        monkeypatch.setattr(model, "_encode", lambda feat, data_samples: feat)
    features = torch.randn(2, model.neck.queries.shape[1], 2, 32)
    padded = with_garbage(features, 24)
    narrow = readings(model, features[:1, ..., :24], 1.0)
    # The other image of the batch has no padding, and its neighbour's is nothing to it.
    wide = readings(model, features[1:], 1.0)
    assert_alike(readings(model, padded, RATIO, 1.0), narrow + wide)
    unmasked = readings(model, padded, 1.0, 1.0)
    assert differ(unmasked[0][0], narrow[0][0])

    padded.requires_grad_()
    (gradient,) = torch.autograd.grad(loss_of(model, padded, samples(RATIO, 1.0)), padded)
    learnt = gradient.abs().amax(dim=(1, 2)) > 0
    assert learnt.tolist() == [[True] * 24 + [False] * 8, [True] * 32]


@pytest.mark.parametrize("row", ROWS)
def test_padding_is_nothing_from_the_encoder_on(row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same of the backbone's own map, except where MMOCR's encoder has no mask.

    A ViT is a backbone that has none, and of one size; here it only gives a map like any other.
    """
    model = build(row)
    features = model.extract_feat(images()).detach()
    monkeypatch.setattr(model, "extract_feat", lambda inputs: inputs)
    valid = math.ceil(features.shape[3] * RATIO)
    padded = with_garbage(features, valid)
    read = readings(model, padded, RATIO, 1.0)
    wide = readings(model, features[1:], 1.0)
    if model.layout.site == "out_enc" and type(model.encoder).__name__ in READS_PADDING:
        assert_alike(read[1:], wide)
        # Else it is time to shorten the list.
        assert differ(encoded(model, padded, valid), encoded(model, features, valid))
    else:
        assert_alike(read, readings(model, features[:1, ..., :valid], 1.0) + wide)


@pytest.mark.parametrize("row", SATRN)
def test_satrns_encoder_reads_padding_in_two_ways_only(row: str) -> None:
    model = build(row)
    features = torch.randn(2, model.neck.queries.shape[1], 4, 32)
    # First, by the scale of its positions: so let it not depend on the map.
    for scale in (model.encoder.position_enc.h_scale, model.encoder.position_enc.w_scale):
        nn.init.zeros_(scale[0].weight)
    expected = encoded(model, features, 24)
    # Second, each layer by its convolution of three columns: so beyond as many columns as layers
    # nothing is left, since its attention has a mask.
    assert differ(encoded(model, with_garbage(features, 24), 24), expected)
    beyond = with_garbage(features, 24 + len(model.encoder.layer_stack))
    torch.testing.assert_close(encoded(model, beyond, 24), expected, rtol=0.0, atol=1e-5)
