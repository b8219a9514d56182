# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""What holds for every recognizer: gradients, padding, and an FMU of any size or none.

A row is a ``configs/dptr_<row>.py``; new ones are found by themselves. Its small variant
``configs/mini/dptr_<row>_mini.py`` is built where there is one. That all of stage 1 loads into
every config is in ``test_configs.py``.
"""

import copy
import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import FUNCTIONS, init_default_scope
from mmocr.models.textrecog.recognizers import BaseRecognizer
from mmocr.registry import DATASETS, MODELS
from mmocr.structures import TextRecogDataSample
from torch import Tensor, nn

from mmdptr.embeddings import ORPBank, TextEmbeddingStore
from mmdptr.engine.pretrain_config import build_pretrain_config
from mmdptr.models import DPTRPretrainer, DPTRRecognizer, TypesetPretrainer
from tests.builders import sample
from tests.silent_parameters import SILENT

CONFIGS = Path(__file__).parents[1] / "configs"
# What ends on _finetune is stage 2 of another row by itself; CLIP4STR has tests of its own.
ROWS = sorted(
    path.stem.removeprefix("dptr_")
    for path in CONFIGS.glob("dptr_*.py")
    if not path.stem.endswith(("_finetune", "_clip4str"))
)
SATRN = [row for row in ROWS if row.startswith("satrn")]

# Short enough for five slots with CTC, which needs one more between equal characters.
TEXTS = ("dog", "c4ts")
RATIO = 0.75

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
    "aster": STN,
    "svtr-small": STN,
    "svtr-base": STN,
    "svtr-large": STN,
    "svtr-small_nrtr-decoder": STN,
    "svtr-base_nrtr-decoder": STN,
    "svtr-large_nrtr-decoder": STN,
}
"""Parameters that get none from images either; the minis of SVTR have no STN."""

READ_MAPS = {
    *("abinet", "abinet-vision", "aster", "nrtr", "robustscanner", "satrn", "satrn-small"),
    *("nrtr_resnet31-1by16-1by8", "nrtr_resnet31-1by8-1by4"),
    *("parseq", "parseq_faithful"),  # the minis have an encoder behind their stem
}
"""Rows whose encoder typeset text trains: others have none, or one that reads images."""

READS_PADDING = {
    "SATRNEncoder",  # scales its positions by the mean of the whole map; convolves it
    "ASTEREncoder",  # a BiLSTM, whose backward direction begins in the padding
    "ABIEncoder",  # attends to the whole map
    "SVTREncoder",  # reads an image of one size, and attends to all of it
}
"""Encoders before the FMU that MMOCR does not tell what is padding."""


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


@torch.no_grad()
def readings(model: DPTRRecognizer, inputs: Tensor, *ratios: float) -> list[list[Tensor]]:
    """What the decoder meets of each image, and the probabilities that it makes of that.

    These go up to the end of the text; what follows depends on the other images of the batch.
    """
    feat, out_enc, _ = model.eval()._read(inputs, samples(*ratios))
    met = [out_enc] if model.layout.site == "out_enc" else [feat, out_enc]
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


def texts_of(read: list[TextRecogDataSample]) -> list[tuple[str, Any]]:
    return [(x.pred_text.item, x.pred_text.score) for x in read]


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


def test_rows_are_found() -> None:
    assert {"nrtr", "satrn-small", "svtr-tiny", "svtr-large_nrtr-decoder"} <= {*ROWS}
    assert {*SILENT, *SILENT_BEFORE_THE_FMU} <= {*ROWS}


# Gradients.


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
    assert frozen == ({"encoder"} if model.layout.holistic else set())
    silent = silent_parameters(model, images(), samples(1.0, RATIO))
    expected = SILENT.get(row, set()) | SILENT_BEFORE_THE_FMU.get(row, set())
    assert silent == expected
    if expected & AT_FIRST:
        last = model.preprocessor.stn_fc2.weight
        with torch.no_grad():
            last -= last.grad
        assert silent_parameters(model, images(), samples(1.0, RATIO)) == expected - AT_FIRST


# Padding.


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


@pytest.mark.parametrize("row", ROWS)
def test_samples_of_the_caller_are_left_alone(row: str) -> None:
    model, given = build(row), samples(1.0, RATIO)
    meta = {"img_path": "word.png", "img_shape": (32, 128), "ori_shape": (20, 60)}
    for x in given:
        x.set_metainfo(meta)
    before = [{**x.metainfo} for x in given]
    loss_of(model, images(), given)
    with torch.no_grad():
        read = model.eval().predict(images(), given)
        model.merge_attention(images(), given)
    assert [x.metainfo for x in given] == before
    assert [x.valid_ratio for x in given] == [1.0, RATIO]
    assert all(x is y for x, y in zip(read, given, strict=True))
    assert [x.gt_text.item for x in given] == [*TEXTS]
    for x in given:
        assert {*x.keys()} == {"gt_text", "pred_text"}
        # The targets of MMOCR's losses.
        assert {*x.gt_text.keys()} <= {"item", "indexes", "padded_indexes"}


@pytest.mark.parametrize("row", ROWS)
def test_without_valid_ratio_there_is_no_padding(row: str) -> None:
    model, bare = build(row), [sample(x) for x in TEXTS]
    with torch.no_grad():
        expected = texts_of(model.predict(images(), samples(1.0, 1.0)))
        assert texts_of(model.predict(images(), bare)) == expected
        attention = model.merge_attention(images(), bare)
        assert torch.equal(attention, model.merge_attention(images(), samples(1.0, 1.0)))
        loss = loss_of(model, images(), bare)
        assert torch.equal(loss, loss_of(model, images(), samples(1.0, 1.0)))
    assert not any("valid_ratio" in x for x in bare)


# The FMU: none, or of any size.


@pytest.mark.parametrize("row", ROWS)
def test_fmu_is_one_value_of_the_config(row: str) -> None:
    with_fmu = build(row)
    without = make({**config(row), "neck": None})
    assert type(without) is type(with_fmu) is DPTRRecognizer
    assert type(without.decoder) is type(with_fmu.decoder)
    assert not without.with_neck
    state = {k: x for k, x in with_fmu.state_dict().items() if not k.startswith("neck.")}
    assert len(state) < len(with_fmu.state_dict())
    without.load_state_dict(state)  # strictly
    loss = loss_of(without, images(), samples(1.0, RATIO))
    assert torch.isfinite(loss)
    loss.backward()
    assert any(p.grad is not None and p.grad.any() for p in without.decoder.parameters())
    with torch.no_grad():
        read = without.eval().predict(images(), samples(1.0, RATIO))
    assert all(isinstance(text, str) for text, _ in texts_of(read))


@pytest.mark.parametrize("row", ROWS)
def test_without_fmu_it_is_mmocrs_own_recognizer(row: str) -> None:
    ours = make({**config(row), "neck": None})
    ours_alone = ("neck", "memory", "with_position")
    model = {k: v for k, v in config(row).items() if k not in ours_alone}
    theirs = make({**model, "type": "EncoderDecoderRecognizer"})
    assert type(ours.decoder) is type(theirs.decoder)
    theirs.load_state_dict(ours.state_dict())
    with torch.no_grad():
        expected = theirs.eval()(images(), samples(1.0, RATIO))
        assert torch.equal(ours.eval()(images(), samples(1.0, RATIO)), expected)
    loss = loss_of(theirs, images(), samples(1.0, RATIO))
    assert torch.equal(loss_of(ours, images(), samples(1.0, RATIO)), loss)


@pytest.mark.parametrize("queries", [5, 40])
@pytest.mark.parametrize("row", ROWS)
def test_any_number_of_queries_trains_and_reads(row: str, queries: int) -> None:
    model, ratios = build(row, num_queries=queries), (1.0, RATIO)
    with torch.no_grad():
        read = model.predict(images(), samples(*ratios))
        assert all(isinstance(text, str) for text, _ in texts_of(read))
        feat = model.extract_feat(images())
        at_site = model._encode(feat, samples(*ratios)) if model.layout.site == "out_enc" else feat
        height, width = (feat if at_site.dim() == 3 else at_site).shape[2:]
        attention = model.merge_attention(images(), samples(*ratios))
    assert attention.shape == (2, queries, height, width)
    torch.testing.assert_close(attention.sum(dim=(2, 3)), torch.ones(2, queries))
    assert not attention[1, ..., math.ceil(width * RATIO) :].any()
    loss = loss_of(model, images(), samples(*ratios))
    assert torch.isfinite(loss)
    assert loss > 0  # CTC without room for the text would be made zero
    loss.backward()
    assert model.neck.queries.grad.any(dim=1).all()
