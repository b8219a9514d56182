# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Weights of ``load_from``, and what stage 1 puts in their place."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mmocr.registry import MODELS
from torch import Tensor

from mmdptr.engine import DPTRPretrainHook
from tests.builders import nrtr

from .stage_2 import Probe, config, decoders, train

CLASSES = "decoder.classifier.weight"


@pytest.fixture
def finished() -> dict[str, Tensor]:
    """A model that was trained before."""
    torch.manual_seed(5)
    return MODELS.build(nrtr(neck={"type": "FMU"})).state_dict()


def begin_with(
    state: dict[str, Tensor], store: Path, images: Path, work_dir: Path, **hook: Any
) -> tuple[dict[str, Tensor], dict[str, Tensor], str]:
    """What stage 2 begins with, what stage 1 has learnt, and the log."""
    torch.save({"module." + name: tensor for name, tensor in state.items()}, work_dir / "best.pth")
    changes = {
        "load_from": str(work_dir / "best.pth"),
        "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.0}},
    }
    hook = {"embeddings": str(store), **hook}
    begun = train(config(work_dir, images, hook, **changes))[1]
    learnt: dict[str, Tensor] = {}
    for path in decoders(work_dir):
        learnt |= torch.load(path, weights_only=True)["state_dict"]
    return begun, learnt, next(work_dir.glob("*/*.log")).read_text()


def same(some: dict[str, Tensor], other: dict[str, Tensor], prefix: str) -> bool:
    names = [name for name in some if name.startswith(prefix)]
    assert names
    return all(torch.equal(some[name], other[name]) for name in names)


def test_a_whole_decoder_is_kept(
    finished: dict[str, Tensor], store: Path, images: Path, tmp_path: Path
) -> None:
    begun, _, log = begin_with(finished, store, images, tmp_path)
    assert Probe.epochs == []
    assert all(same(finished, begun, part) for part in ("backbone.stages.0.conv", "decoder."))
    assert torch.equal(begun["neck.queries"], finished["neck.queries"])
    assert "load_from holds all of decoder and FMU, which are kept: stage 1 is left out" in log


@pytest.mark.parametrize("missing", [("decoder.", "neck."), ("neck.",), ("decoder.",)])
def test_a_model_without_decoder_or_fmu_gets_both(
    finished: dict[str, Tensor],
    store: Path,
    images: Path,
    tmp_path: Path,
    missing: tuple[str, ...],
) -> None:
    """MMOCR's checkpoints have decoders, which have read without an FMU."""
    rest = {name: x for name, x in finished.items() if not name.startswith(missing)}
    begun, learnt, log = begin_with(rest, store, images, tmp_path)
    assert Probe.epochs == [0]
    assert same(rest, begun, "encoder.")
    assert same(learnt, begun, "")
    assert ("load_from holds only a part" in log) == (len(missing) == 1)


def test_a_decoder_of_other_classes_is_replaced(
    finished: dict[str, Tensor], store: Path, images: Path, tmp_path: Path
) -> None:
    finished[CLASSES] = finished[CLASSES][1:]
    begun, learnt, log = begin_with(finished, store, images, tmp_path)
    assert same(finished, begun, "encoder.")
    assert same(learnt, begun, "")
    assert "or other sizes: those of stage 1 take their place" in log


def test_queries_are_loaded_where_they_are_all_that_is_asked_for(
    finished: dict[str, Tensor], store: Path, images: Path, tmp_path: Path
) -> None:
    del finished["neck.queries"]
    begun, learnt, _ = begin_with(finished, store, images, tmp_path, load=["slot_prior"])
    assert same(finished, begun, "decoder.")
    assert same(learnt, begun, "neck.queries")


def test_checkpoints_of_others_are_left_to_mmengine() -> None:
    hook = DPTRPretrainHook(embeddings="words")
    hook.after_load_checkpoint(None, {"model": {"decoder.x": torch.ones(2)}, "epoch": 3})
