# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Hooks, learning rates, images and sizes of every config."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from mmengine.dataset import Compose
from mmengine.optim import build_optim_wrapper
from mmocr.registry import HOOKS, MODELS
from PIL import Image

from .shared import NAMES, RECOGNIZERS, images, is_stage_1, read

SLOWER_AFTER_TYPESET_TEXT = [
    f"mini/dptr_{x}_mini.py" for x in ("nrtr", "nrtr_bengali", "nrtr_chinese", "parseq", "master")
]
"""list[str]: NRTR, PARSeq and MASTER, by what they read of held-out crops, and who inherits it."""


@pytest.mark.parametrize("name", NAMES)
def test_hooks_are_built(name: str) -> None:
    cfg = read(name)
    hooks = [type(HOOKS.build(hook)).__name__ for hook in cfg.custom_hooks]
    assert "NonFiniteLossHook" in hooks
    assert ("DPTRExportHook" in hooks) == is_stage_1(cfg)
    assert cfg.custom_imports.imports == ["mmdptr"]
    assert cfg.custom_imports.allow_failed_imports is False


@pytest.mark.parametrize("name", RECOGNIZERS)
def test_learning_rate_of_the_decoder_is_the_configs(name: str) -> None:
    cfg = read(name)
    lr = cfg.optim_wrapper.optimizer.lr
    paramwise = cfg.optim_wrapper.get("paramwise_cfg", {})
    multipliers = {k: v.get("lr_mult", 1.0) for k, v in paramwise.get("custom_keys", {}).items()}
    multiplier = multipliers.get("decoder", 1.0)
    typeset = any(hook.get("typeset") for hook in cfg.custom_hooks)
    slower = 0.3 if name in SLOWER_AFTER_TYPESET_TEXT else 1
    full = 19 if "clip4str" in name and "mini" not in name else slower
    assert multiplier == (0.1 if "abinet" in name else full)  # which forgets; others do not
    model = MODELS.build(cfg.model)
    if hasattr(model, "layout") and not typeset:  # an encoder that was pre-trained, too
        shared = model.layout.reads_encoder and model.with_encoder
        assert multipliers.get("encoder", 1.0) == (multiplier if shared else 1.0)
    rates = {
        id(p): group["lr"]
        for group in build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
        for p in group["params"]
    }
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for parameter, p in learning.items():
        key = max((k for k in multipliers if k in parameter), key=len, default="")
        assert rates[id(p)] == pytest.approx(lr * multipliers.get(key, 1.0)), parameter
        taught = ("neck.", "decoder.", "cross_decoder.")
        if slower != 1:  # an encoder before an FMU without layers of its own
            taught += () if cfg.model.neck.get("num_layers") else ("encoder.",)
        if typeset and parameter.startswith(taught):
            assert rates[id(p)] == pytest.approx(lr * full), parameter
        elif slower != 1:
            assert rates[id(p)] == pytest.approx(lr), parameter


@pytest.mark.parametrize(
    "name", [x for x in RECOGNIZERS if "clip" in x and "word" not in x and "mini" not in x]
)
def test_clip_sees_images_normalized_as_it_knows_them(name: str, photo: Path) -> None:
    cfg = read(name)
    found = MODELS.build(cfg.model.data_preprocessor)(images(cfg, photo))["inputs"][0]
    transform = open_clip.image_transform((224, 224), is_train=False, resize_mode="squash")
    expected = transform(Image.open(photo))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("name", "published"), [("parseq_vit-small.py", 23.8e6), ("clip4str_vit-b16.py", 158e6)]
)
def test_sizes_are_the_published_ones(name: str, published: float) -> None:
    model = MODELS.build(read(name).model)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(published, rel=2e-3)


def pipelines(config: Any) -> Iterator[list[dict[str, Any]]]:
    """Every pipeline that stands somewhere in a config."""
    if isinstance(config, dict):
        if config.get("pipeline"):
            yield config["pipeline"]
        for value in config.values():
            yield from pipelines(value)
    elif isinstance(config, list):
        for value in config:
            yield from pipelines(value)


@pytest.mark.parametrize("name", RECOGNIZERS)
def test_training_images_need_no_further_package(name: str, photo: Path) -> None:
    cfg = read(name)
    found = list(pipelines(cfg.train_dataloader.to_dict()))
    assert found
    for pipeline in found:
        word = {"img_path": str(photo), "instances": [{"text": "dog"}]}
        assert Compose(pipeline)(word)["inputs"].dim() == 3
