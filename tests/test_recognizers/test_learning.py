# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""What text teaches, and what images teach, of every recognizer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.registry import FUNCTIONS
from mmocr.models.textrecog.recognizers import BaseRecognizer
from mmocr.registry import DATASETS
from mmocr.structures import TextRecogDataSample
from torch import Tensor, nn

from mmdptr.embeddings import ORPBank, TextEmbeddingStore
from mmdptr.engine.pretrain_config import build_pretrain_config
from mmdptr.models import DPTRPretrainer, TypesetPretrainer
from tests.silent_parameters import SILENT

from .rows import RATIO, ROWS, config, images, loss_of, make, samples

# In double precision gradients that are zero by mathematics come out below 1e-13, all others
# above 1e-10. In single precision the two could not be told apart.
NOISE = 1e-12

AT_FIRST = {
    *(f"preprocessor.stn_convnet.{i}.conv.weight" for i in range(0, 12, 2)),
    *(f"preprocessor.stn_convnet.{i}.bn.{x}" for i in range(0, 12, 2) for x in ("weight", "bias")),
    *(f"preprocessor.stn_fc1.{x}" for x in ("0.weight", "1.weight", "1.bias")),
}
"""Of MMOCR's STN, whose last layer starts at zero: what is before it begins at the second step."""

# Besides these, a bias before batch normalization, which takes any shift away.
STN = AT_FIRST | {"preprocessor.stn_fc1.0.bias"}

SILENT_BEFORE_THE_FMU = {
    # Before a 1x1 convolution with batch normalization, which takes any shift away.
    "satrn": {f"encoder.layer_stack.{i}.norm2.bias" for i in range(3)},
    "satrn-small": {f"encoder.layer_stack.{i}.norm2.bias" for i in range(2)},
    "svtr-small": STN,
    "svtr-base": STN,
    "svtr-large": STN,
    "svtr-small_nrtr-decoder": STN,
    "svtr-base_nrtr-decoder": STN,
    "svtr-large_nrtr-decoder": STN,
}
"""Parameters that get none from images either; the minis of ASTER and SVTR have no STN."""

READ_MAPS = {
    *("abinet", "abinet-vision", "nrtr", "robustscanner", "satrn", "satrn-small"),
    *("nrtr_resnet31-1by16-1by8", "nrtr_resnet31-1by8-1by4"),
    *("parseq", "parseq_faithful"),  # the minis have an encoder behind their stem
}
"""Rows whose encoder typeset text trains: others have none, or one that reads images."""


def test_rows_are_found() -> None:
    assert {"nrtr", "satrn-small", "svtr-tiny", "svtr-large_nrtr-decoder"} <= {*ROWS}
    assert {*SILENT, *SILENT_BEFORE_THE_FMU} <= {*ROWS}


@pytest.fixture
def _double_precision() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def _mask_in_double(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, Any]:
    mask = kwargs.get("attn_mask")
    if mask is not None and mask.is_floating_point():  # MASTER's, always in single precision
        kwargs["attn_mask"] = mask.double()
    return args, kwargs


def silent_parameters(
    model: BaseRecognizer, inputs: Tensor, given: list[TextRecogDataSample]
) -> set[str]:
    """Parameters without gradient, rounding aside."""
    for module in model.modules():
        if isinstance(module, nn.MultiheadAttention):
            module.register_forward_pre_hook(_mask_in_double, with_kwargs=True)
    model.zero_grad()
    loss_of(model, inputs.double(), given).backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    return {name for name, x in gradients.items() if x is None or x.abs().max() < NOISE}


@pytest.mark.usefixtures("_double_precision")
@pytest.mark.parametrize("row", ROWS)
def test_text_teaches_every_parameter(row: str, text_store: Path, orp_bank: Path) -> None:
    store, bank = TextEmbeddingStore(text_store), ORPBank(orp_bank)
    cfg = build_pretrain_config(config(row), store, bank)
    model = make(cfg.model)
    assert isinstance(model, DPTRPretrainer)
    loader = cfg.train_dataloader
    dataset = DATASETS.build(loader.dataset)
    batch = FUNCTIONS.get(loader.collate_fn.type)([dataset[i] for i in range(40, 44)])
    data = model.data_preprocessor(batch, training=True)
    silent = silent_parameters(model, data["inputs"], data["data_samples"])
    assert silent == SILENT.get(row, set())
    projects = any(name.startswith("projection.") for name, _ in model.named_parameters())
    assert projects == (model.layout.width_of(cfg.model.decoder) != store.width)


@pytest.mark.usefixtures("_double_precision")
@pytest.mark.parametrize("layers", [0, 1])
@pytest.mark.parametrize("row", ROWS)
def test_typeset_text_teaches_all_that_reads(
    row: str, layers: int, text_store: Path, orp_bank: Path
) -> None:
    store, bank = TextEmbeddingStore(text_store), ORPBank(orp_bank)
    recognizer = make(config(row, num_layers=layers))
    shape = recognizer.feature_shape(images(), samples(1.0, 1.0))
    model_config = config(row, num_layers=layers)
    cfg = build_pretrain_config(model_config, store, bank, typeset={"feature_shape": shape})
    model = make(cfg.model)
    assert isinstance(model, TypesetPretrainer)
    ours = {k for k in model.state_dict() if not k.startswith("projection.")}
    theirs = {k for k in recognizer.state_dict() if k.startswith(model.parts)}
    assert ours == theirs
    reads = recognizer.layout.reads_encoder if layers else row in READ_MAPS
    assert ("encoder" in model.parts) == (reads and recognizer.with_encoder)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    batch = FUNCTIONS.get(cfg.train_dataloader.collate_fn.type)([dataset[i] for i in range(40, 44)])
    data = model.data_preprocessor(batch, training=True)
    silent = silent_parameters(model, data["inputs"], data["data_samples"])
    expected = SILENT.get(row, set()) | SILENT_BEFORE_THE_FMU.get(row, set())
    assert silent == {name for name in expected if name.startswith((*model.parts, "projection"))}


@pytest.mark.usefixtures("_double_precision")
@pytest.mark.parametrize("row", ROWS)
def test_images_teach_every_parameter(row: str) -> None:
    model = make(config(row))
    frozen = {name.split(".")[0] for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == ({"encoder"} if model.layout.leaves_out_encoder else set())
    silent = silent_parameters(model, images(), samples(1.0, RATIO))
    expected = SILENT.get(row, set()) | SILENT_BEFORE_THE_FMU.get(row, set())
    assert silent == expected
    if expected & AT_FIRST:
        last = model.preprocessor.stn_fc2.weight
        with torch.no_grad():
            last -= last.grad
        assert silent_parameters(model, images(), samples(1.0, RATIO)) == expected - AT_FIRST
