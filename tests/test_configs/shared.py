# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The configs, and what their tests do with each; new ones are found by themselves."""

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper
from mmengine.registry import FUNCTIONS, init_default_scope
from mmocr.registry import DATASETS

from tests.silent_parameters import SILENT

CONFIGS = Path(__file__).parents[2] / "configs"


def names() -> list[str]:
    files = sorted(path.relative_to(CONFIGS) for path in CONFIGS.rglob("*.py"))
    return [str(path) for path in files if "_base_" not in path.parts]


def is_stage_1(cfg: Config) -> bool:
    return cfg.model.type == "DPTRPretrainer"


NAMES = names()
STAGE_1 = [name for name in NAMES if is_stage_1(Config.fromfile(CONFIGS / name))]
UNION14M = [name for name in NAMES if name.startswith("union14m")]  # other data, the same models
OF_LANGUAGES = [name for name in NAMES if name.startswith("languages")]
OTHER_DATA = [*UNION14M, *(x for x in OF_LANGUAGES if "bengali" not in x)]
RECOGNIZERS = [name for name in NAMES if name not in STAGE_1 + OTHER_DATA]


def read(name: str) -> Config:
    cfg = Config.fromfile(CONFIGS / name)
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    return cfg


def images(cfg: Config, photo: Path) -> dict[str, Any]:
    """Two images, as the config's own test pipeline gives them."""
    pipeline = Compose(cfg.test_dataloader.dataset.pipeline)
    # Labels of real-7k have capitals and punctuation.
    labels = ("Dog's!", "c4ts") if "real7k_root" in cfg else ("dog", "c4ts")
    words = [{"img_path": str(photo), "instances": [{"text": x}]} for x in labels]
    return pseudo_collate([pipeline(word) for word in words])


def texts(cfg: Config) -> dict[str, Any]:
    """Two text embeddings, as the training of stage 1 gets them."""
    loader = cfg.train_dataloader
    dataset = DATASETS.build(loader.dataset)
    collate = FUNCTIONS.get(loader.collate_fn.type)
    return collate([dataset[i] for i in (0, 50)])


def step(model: BaseModel, cfg: Config, data: dict[str, Any]) -> None:
    """One training step; it moves every parameter of ours and of the decoder."""
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    losses = model.train().train_step(data, optim_wrapper)
    assert all(torch.isfinite(value) for value in losses.values())
    assert all(torch.isfinite(p).all() for p in model.parameters())
    still = [name for name, p in model.named_parameters() if torch.equal(p, before[name])]
    still = [x for x in still if x.startswith(("decoder.", "neck.", "projection."))]
    # These have a gradient of rounding noise, which may or may not move them.
    assert {*still} <= set().union(*SILENT.values())


def predict(model: BaseModel, data: dict[str, Any]) -> None:
    found = model.eval().test_step(data)
    assert len(found) == 2
    assert all(isinstance(x.pred_text.item, str) for x in found)
