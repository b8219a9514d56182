# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import copy
from typing import Any

import numpy as np
import pytest
import torch
from mmocr.models.textrecog.decoders import NRTRDecoder
from mmocr.models.textrecog.module_losses import CEModuleLoss
from mmocr.registry import MODELS

from mmdptr.models import DPTRLoss, DPTRPretrainer, TextEmbeddingPreprocessor
from mmdptr.models.position import sinusoids
from tests.builders import END, MAX_SEQ_LEN, WIDTH, nrtr, nrtr_decoder, sample, spelled, words


class OwnLoss(CEModuleLoss):
    """A loss that a decoder keeps."""


@pytest.fixture
def own_loss() -> Any:
    MODELS.register_module(module=OwnLoss)
    yield
    MODELS._module_dict.pop("OwnLoss")


MASKED = {"type": "TextEmbeddingPreprocessor"}  # short memories are masked instead of filled


def build(embed_dims: int = WIDTH, **changes: Any) -> DPTRPretrainer:
    torch.manual_seed(0)
    config = {"decoder": nrtr_decoder(), "embed_dims": embed_dims, **changes}
    return MODELS.build({"type": "DPTRPretrainer", **config})


def batch(texts: list[str], width: int = WIDTH) -> dict[str, Any]:
    """What a data loader gives."""
    return {
        "inputs": [spelled(text, width) for text in texts],
        "data_samples": [
            sample(text, memory_length=len(text) + 1, token_ids=np.array([*map(ord, text), END]))
            for text in texts
        ],
    }


def test_decoder_is_built_from_the_recognizers_config() -> None:
    model = build()
    recognizer = MODELS.build(nrtr())
    assert type(model.decoder) is type(recognizer.decoder) is NRTRDecoder
    recognizer.decoder.load_state_dict(model.decoder.state_dict())


def test_decoder_meets_as_many_slots_as_the_fmu_gives() -> None:
    model = build()
    assert type(model.data_preprocessor) is TextEmbeddingPreprocessor
    data = model.data_preprocessor(batch(["a", "dog7"]))
    fmu = MODELS.build(nrtr(neck={"type": "FMU"})).neck
    assert data["inputs"].shape[1] == fmu.num_queries == MAX_SEQ_LEN
    assert all(x.valid_ratio == 1 for x in data["data_samples"])
    own = build(decoder=nrtr_decoder(max_seq_len=20)).data_preprocessor
    assert own.num_slots == 20
    assert own.mix_slots
    assert build(data_preprocessor=MASKED).data_preprocessor.num_slots is None


@pytest.mark.parametrize("embed_dims", [WIDTH, 24])
def test_state_is_decoder_projection_and_slot_prior(embed_dims: int) -> None:
    model = build(embed_dims)
    keys = set(model.state_dict())
    decoder = {f"decoder.{key}" for key in model.decoder.state_dict()}
    neck = {"neck.queries", "neck.sums", "neck.counts"}
    projection = {"projection.weight", "projection.bias"} if embed_dims != WIDTH else set()
    assert keys == decoder | neck | projection
    assert model.state_dict()["neck.queries"].shape == (MAX_SEQ_LEN, WIDTH)
    assert not any(name.startswith("neck.") for name, _ in model.named_parameters())


@pytest.mark.parametrize("embed_dims", [WIDTH, 24])
def test_every_parameter_learns(embed_dims: int) -> None:
    model = build(embed_dims).train()
    data = model.data_preprocessor(batch(words(8), embed_dims))
    loss, _ = model.parse_losses(model(**data, mode="loss"))
    loss.backward()
    silent = [k for k, v in model.named_parameters() if v.grad is None or not v.grad.any()]
    assert silent == []
    assert any(name.startswith("decoder.") for name, _ in model.named_parameters())


def test_wrong_width_is_named_with_the_fix() -> None:
    model = build(24)
    data = model.data_preprocessor(batch(["dog"], 32))
    message = r"width 32, .*embed_dims=24\. Set model\.embed_dims=32"
    for mode in ("loss", "predict", "tensor"):
        with pytest.raises(ValueError, match=message):
            model(**data, mode=mode)


def test_ce_becomes_dptr_loss_with_its_settings() -> None:
    decoder = nrtr_decoder()
    decoder["module_loss"]["letter_case"] = "lower"
    loss = build(decoder=decoder).decoder.module_loss
    assert type(loss) is DPTRLoss
    assert loss.ignore_first_char
    assert loss.letter_case == "lower"
    assert loss.max_seq_len == MAX_SEQ_LEN
    assert loss.trim_targets  # NRTR takes targets of any length
    layout = {"site": "out_enc", "form": "sequence", "width": "d_model"}
    assert not build(memory=layout).decoder.module_loss.trim_targets


@pytest.mark.usefixtures("own_loss")
def test_other_losses_stay() -> None:
    decoder = nrtr_decoder()
    decoder["module_loss"]["type"] = "OwnLoss"
    assert type(build(decoder=decoder).decoder.module_loss) is OwnLoss


def test_config_of_the_caller_stays_as_it_is() -> None:
    decoder = nrtr_decoder()
    before = copy.deepcopy(decoder)
    build(decoder=decoder)
    assert decoder == before


@pytest.mark.parametrize("preprocessor", [None, MASKED])
def test_decoder_reads_the_memory_of_each_label_and_no_padding(
    preprocessor: dict[str, Any] | None,
) -> None:
    model = build(24, data_preprocessor=preprocessor).eval()
    texts = ["a", "dog7"]
    together = model(**model.data_preprocessor(batch(texts, 24)), mode="tensor")
    alone = model(**model.data_preprocessor(batch(texts[:1], 24)), mode="tensor")
    torch.testing.assert_close(together[:1], alone)
    # with the prompt's prefix or with padding, memories are longer than the decoder's labels
    longer = model(**model.data_preprocessor(batch(["a", "dog7" * 5], 24)), mode="tensor")
    torch.testing.assert_close(longer[:1], alone)


@pytest.mark.parametrize("with_position", [True, False])
def test_slots_are_numbered_after_the_projection(with_position: bool) -> None:
    model = build(24, with_position=with_position)
    memory = torch.randn(2, 7, 24)
    expected = model.projection(memory) + with_position * sinusoids(7, WIDTH)
    torch.testing.assert_close(model.extract_feat(memory), expected)


def test_slot_prior_is_of_projected_memory_and_only_from_training() -> None:
    model = build(24, data_preprocessor=MASKED)
    data = model.data_preprocessor(batch(["dog", "a"], 24))
    model.eval()(**data, mode="predict")
    assert not model.neck.counts.any()
    model.train()(**data, mode="loss")
    assert model.neck.counts.tolist() == [2, 2, 1, 1] + [0] * (MAX_SEQ_LEN - 4)
    memory = model.projection(data["inputs"]) + sinusoids(4, WIDTH)
    torch.testing.assert_close(model.neck.queries[0], memory[:, 0].mean(0))
    torch.testing.assert_close(model.neck.queries[3], memory[0, 3])


def test_it_learns_to_spell() -> None:
    texts = words(16)
    model = build(24).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(80):
        data = model.data_preprocessor(batch(texts, 24))
        losses = model(**data, mode="loss")
        optimizer.zero_grad()
        losses["loss_ce"].backward()
        optimizer.step()
    assert losses["loss_ce"] < 0.05
    assert losses["char_acc"] == 1
    read = model.eval().test_step(batch(texts, 24))
    assert [x.pred_text.item for x in read] == texts
    assert [x.gt_text.item for x in read] == texts
