# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Every recognizer, small, and what its tests share.

A row is a ``configs/dptr_<row>.py``; new ones are found by themselves. Its small variant
``configs/mini/dptr_<row>_mini.py`` is built where there is one. That all of stage 1 loads into
every config is in ``test_configs``.
"""

import copy
import functools
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmocr.models.textrecog.recognizers import BaseRecognizer
from mmocr.registry import MODELS
from mmocr.structures import TextRecogDataSample
from torch import Tensor, nn

from tests.builders import sample

CONFIGS = Path(__file__).parents[2] / "configs"
# What ends on _finetune is stage 2 of another row by itself; CLIP4STR has tests of its own.
ROWS = sorted(
    path.stem.removeprefix("dptr_")
    for path in CONFIGS.glob("dptr_*.py")
    if not path.stem.endswith(("_finetune", "_clip4str"))
)

# Short enough for five slots with CTC, which needs one more between equal characters.
TEXTS = ("dog", "c4ts")
RATIO = 0.75


@functools.cache
def _config(row: str) -> dict[str, Any]:
    mini = CONFIGS / "mini" / f"dptr_{row}_mini.py"
    cfg = Config.fromfile(mini if mini.is_file() else CONFIGS / f"dptr_{row}.py")
    if not mini.is_file():
        _shorten(cfg.model)
    return cfg.model.to_dict()


def _shorten(model: dict[str, Any]) -> None:
    """Make the images small and repeat no layer, but keep the widths and each kind of layer."""
    if model.get("backbone", {}).get("type") == "CLIPVisionBackbone":
        model["backbone"].update(model="mmdptr-tiny", image_size=[32, 128])
        model["decoder"]["d_model"] = 256
        if model["decoder"]["type"] == "NRTRMapDecoder":
            model["decoder"].update(d_embedding=256, d_k=32, d_v=32)
    if model["encoder"] and model["encoder"]["type"] == "SVTREncoder":
        model["encoder"].update(depth=[1, 1, 1], mixer_types=["Local", "Local", "Global"])
        model["encoder"].update(img_size=[32, 64], max_seq_len=16)
        model["preprocessor"].update(output_image_size=(32, 64))
    if "n_layers" in model["decoder"]:
        model["decoder"]["n_layers"] = 1


def config(row: str, **neck: Any) -> dict[str, Any]:
    """The model's config; a new one each time, since MMOCR writes into what it builds."""
    model = copy.deepcopy(_config(row))
    init_default_scope("mmocr")
    model["neck"].update(neck)
    return model


def make(model: dict[str, Any]) -> Any:
    """Build, and switch off all that is random."""
    torch.manual_seed(0)
    built = MODELS.build(model).to(torch.get_default_dtype())  # CLIP is float32 whatever it is
    for module in built.modules():
        for name in ("p", "drop_prob", "dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    return built


def build(row: str, **neck: Any) -> Any:
    """A recognizer whose FMU's slots differ, as after stage 1; new queries are nearly alike."""
    model = make(config(row, **neck))
    nn.init.normal_(model.neck.queries)
    return model.eval()


def images() -> Tensor:
    return torch.randn(2, 3, 32, 128, generator=torch.Generator().manual_seed(1))


def samples(*ratios: float) -> list[TextRecogDataSample]:
    return [sample(x, valid_ratio=r) for x, r in zip(TEXTS, ratios, strict=False)]


def loss_of(model: BaseRecognizer, inputs: Any, given: list[TextRecogDataSample]) -> Tensor:
    torch.manual_seed(0)  # PARSeq draws orders
    losses = model.train().loss(inputs, given)
    return sum(value.mean() for name, value in losses.items() if "loss" in name)


def texts_of(read: list[TextRecogDataSample]) -> list[tuple[str, Any]]:
    return [(x.pred_text.item, x.pred_text.score) for x in read]
