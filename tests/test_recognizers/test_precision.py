# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Mixed precision trains every recognizer as float32 does, but for rounding."""

import pytest
import torch
from mmocr.models.textrecog.recognizers import BaseRecognizer
from torch import Tensor
from torch.nn import functional

from .rows import ROWS, build, images, loss_of, samples

pytestmark = pytest.mark.usefixtures("lstms_on_any_cpu")


def gradients(model: BaseRecognizer, precision: torch.dtype | None) -> dict[str, Tensor]:
    """Return what each parameter learns from two images, by name."""
    model.zero_grad()
    with torch.autocast("cpu", precision, enabled=precision is not None):
        loss = loss_of(model, images(), samples(1.0, 1.0))
    loss.backward()
    return {name: x.grad.flatten() for name, x in model.named_parameters() if x.grad is not None}


@pytest.mark.parametrize("row", ROWS)
def test_bfloat16_learns_what_float32_does(row: str) -> None:
    model = build(row)
    single, half = gradients(model, None), gradients(model, torch.bfloat16)
    assert single.keys() == half.keys()
    for part in ("preprocessor", "backbone", "encoder", "neck", "decoder"):
        names = [name for name in single if name.startswith(f"{part}.")]
        if names:
            one, two = (torch.cat([x[name] for name in names]) for x in (single, half))
            assert functional.cosine_similarity(one, two, dim=0) > 0.95, part


@pytest.mark.parametrize("row", ROWS)
def test_float16_overflows_nowhere(row: str) -> None:
    model = build(row)
    with torch.no_grad():
        single = loss_of(model, images(), samples(1.0, 0.75))
        with torch.autocast("cpu", torch.float16):
            half = loss_of(model, images(), samples(1.0, 0.75))
    assert half.item() == pytest.approx(single.item(), rel=0.01)
