# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Every recognizer trains and reads with its data on another device, as on a GPU."""

from pathlib import Path

import pytest
import torch
from mmocr.registry import DATASETS
from torch import Tensor
from torch.nn import functional

from mmdptr.datasets.concat_collate import concat_collate
from mmdptr.embeddings import TextEmbeddingStore
from mmdptr.engine.pretrain_config import build_pretrain_config
from tests.second_device import no_waiting, second_device

from .rows import ROWS, build, config, images, loss_of, make, samples, texts_of


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


@pytest.mark.parametrize("row", ROWS)
def test_a_step_of_training_does_not_wait_for_the_device(row: str) -> None:
    with second_device() as device:
        model, inputs = build(row).to(device), images().to(device)
        with no_waiting():
            loss_of(model, inputs, samples(1.0, 0.75)).backward()
    assert any(x.grad is not None for x in model.decoder.parameters())


@pytest.mark.parametrize("typeset", [False, True], ids=["slots", "typeset"])
@pytest.mark.parametrize("row", ROWS)
def test_a_step_of_stage_1_does_not_wait_for_the_device(
    row: str, typeset: bool, text_store: Path
) -> None:
    shape = build(row).feature_shape(images(), samples(1.0, 1.0)) if typeset else None
    store = TextEmbeddingStore(text_store)
    cfg = build_pretrain_config(
        config(row), store, None, typeset={"feature_shape": shape} if typeset else None
    )
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    with second_device() as device:
        model = make(cfg.model).to(device)
        batch = model.data_preprocessor(
            concat_collate([dataset[i] for i in range(40, 44)]), training=True
        )
        with no_waiting():
            loss_of(model, batch["inputs"], batch["data_samples"]).backward()
    assert any(x.grad is not None for x in model.decoder.parameters())
