# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Every recognizer trains and reads with its data on another device, as on a GPU."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.second_device import second_device

from .rows import ROWS, build, images, loss_of, samples, texts_of


def learnt(model: torch.nn.Module, inputs: Tensor) -> tuple[float, dict[str, Tensor]]:
    """The loss of two images, and what each part learns from them."""
    loss = loss_of(model, inputs, samples(1.0, 0.75))
    loss.backward()
    gradients = {
        name: torch.cat([x.grad.cpu().flatten() for x in part.parameters() if x.grad is not None])
        for name, part in model.named_children()
        if any(x.grad is not None for x in part.parameters())
    }
    return loss.item(), gradients


@pytest.mark.parametrize("row", ROWS)
def test_a_second_device_computes_what_the_cpu_does(row: str) -> None:
    model = build(row)
    loss, gradients = learnt(model, images())
    with torch.no_grad():
        texts = texts_of(model.eval().predict(images(), samples(1.0, 0.75)))
    with second_device() as device:
        moved = build(row).to(device)
        moved_loss, moved_gradients = learnt(moved, images().to(device))
        with torch.no_grad():
            read = texts_of(moved.eval().predict(images().to(device), samples(1.0, 0.75)))
    assert moved_loss == pytest.approx(loss, rel=1e-5)
    assert moved_gradients.keys() == gradients.keys()
    for part, gradient in gradients.items():  # of the spatial transformer rounding makes more
        assert functional.cosine_similarity(moved_gradients[part], gradient, dim=0) > 0.999, part
    for (text, score), (known, known_score) in zip(read, texts, strict=True):
        assert text == known
        assert score == pytest.approx(known_score, rel=1e-4)
