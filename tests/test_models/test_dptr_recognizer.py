# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import copy
from typing import Any

import pytest
import torch
from mmengine.runner import load_state_dict
from mmocr.models.textrecog.recognizers import NRTR
from mmocr.registry import MODELS
from mmocr.structures import TextRecogDataSample
from torch import Tensor, nn

from mmdptr.models import DPTRRecognizer
from mmdptr.models.position import sine_positions
from tests.builders import MAX_SEQ_LEN, WIDTH, nrtr, nrtr_decoder, sample

TEXTS = ("dog", "c4t")


def build(**changes: Any) -> DPTRRecognizer:
    torch.manual_seed(0)
    return MODELS.build(nrtr(**{"neck": {"type": "FMU", "dropout": 0.0}, **changes})).eval()


def on_features(**changes: Any) -> DPTRRecognizer:
    """A recognizer whose inputs are feature maps (N, C, H, W)."""
    return build(backbone=None, **changes)


def samples(*ratios: float) -> list[TextRecogDataSample]:
    return [sample(text, valid_ratio=r) for text, r in zip(TEXTS, ratios, strict=True)]


def loss_of(model: nn.Module, inputs: Tensor, *ratios: float) -> Tensor:
    model.train()
    loss = model.loss(inputs, samples(*ratios))["loss_ce"].mean()
    model.eval()
    return loss


@torch.no_grad()
def probabilities(model: nn.Module, inputs: Tensor, *ratios: float) -> Tensor:
    return model._forward(inputs, samples(*ratios))


def test_without_neck_it_is_mmocrs_own_class() -> None:
    ours, theirs = build(neck=None), MODELS.build(nrtr("NRTR")).eval()
    assert type(theirs) is NRTR
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(2, 3, 32, 64)
    expected = probabilities(theirs, images, 1.0, 0.5)
    assert torch.equal(probabilities(ours, images, 1.0, 0.5), expected)
    assert torch.equal(loss_of(ours, images, 1.0, 0.5), loss_of(theirs, images, 1.0, 0.5))
    read, expected = (x.predict(images, samples(1.0, 0.5)) for x in (ours, theirs))
    assert [x.pred_text.item for x in read] == [x.pred_text.item for x in expected]
    assert [x.pred_text.score for x in read] == [x.pred_text.score for x in expected]


def test_neck_adds_keys_and_renames_none() -> None:
    keys = build().state_dict().keys()
    theirs = MODELS.build(nrtr("NRTR")).state_dict().keys()
    assert {key for key in keys if not key.startswith("neck.")} == theirs
    assert {key for key in keys if key.startswith("neck.")} == keys - theirs != set()


def test_mmocrs_weights_load() -> None:
    theirs, ours = MODELS.build(nrtr("NRTR")), build()
    result = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert result.unexpected_keys == []
    assert set(result.missing_keys) == {f"neck.{key}" for key in ours.neck.state_dict()}
    torch.testing.assert_close(ours.decoder.state_dict(), theirs.decoder.state_dict())
    load_state_dict(ours, theirs.state_dict(), strict=False)  # what mmengine calls


def test_memory_of_the_decoder_is_the_fmus(monkeypatch: pytest.MonkeyPatch) -> None:
    model, features = on_features(), torch.randn(2, WIDTH, 1, 10)
    met = []
    monkeypatch.setattr(
        model.decoder, "forward_test", lambda feat, out_enc, x: met.append((out_enc, x))
    )
    given = samples(1.0, 0.5)
    model._forward(features, given)
    tokens = model._encode(features, given)
    ((memory, seen),) = met
    torch.testing.assert_close(memory, model.neck(tokens, (1, 10), [1.0, 0.5]))
    # the decoder must not mask slots by the padding of the image
    assert [x.valid_ratio for x in seen] == [1.0, 1.0]
    assert [x.valid_ratio for x in given] == [1.0, 0.5]


@pytest.mark.parametrize("neck", [None, {"type": "FMU"}])
def test_samples_of_the_caller_keep_their_valid_ratio(neck: dict[str, Any] | None) -> None:
    model, given = build(neck=neck), samples(1.0, 0.5)
    images = torch.randn(2, 3, 32, 64)
    model.train().loss(images, given)
    model.eval().predict(images, given)
    model._forward(images, given)
    assert [x.valid_ratio for x in given] == [1.0, 0.5]
    assert [x.gt_text.item for x in given] == list(TEXTS)


@pytest.mark.parametrize("neck", [None, {"type": "FMU"}])
def test_predictions_are_in_the_samples_that_were_given(neck: dict[str, Any] | None) -> None:
    model, given = build(neck=neck), samples(1.0, 0.5)
    read = model.predict(torch.randn(2, 3, 32, 64), given)
    assert all(x is y for x, y in zip(read, given, strict=True))
    assert all(isinstance(x.pred_text.item, str) for x in given)
    assert given[0].pred_text is not given[1].pred_text


@pytest.mark.parametrize("height", [1, 3])
def test_padded_columns_never_count(height: int) -> None:
    # with rows, NRTR's own encoder does not know which tokens are padding
    changes = {} if height == 1 else {"encoder": None, "memory": SITE_FEAT}
    model = on_features(**changes)
    features = torch.randn(2, WIDTH, height, 10)
    garbage = features.clone()
    garbage[1, :, :, 4:] = 100 * torch.randn(WIDTH, height, 6)
    ratios = (1.0, 0.4)
    if height > 1:  # MMOCR's NRTR decoder reads only what stands after an encoder
        model.decoder = FeatReader(model.decoder)
    expected = probabilities(model, features, *ratios)
    torch.testing.assert_close(probabilities(model, garbage, *ratios), expected)
    difference = probabilities(model, garbage, 1.0, 0.5) - probabilities(model, features, 1.0, 0.5)
    assert difference.abs().max() > 1e-4
    if height == 1:
        torch.testing.assert_close(
            loss_of(model, garbage, *ratios), loss_of(model, features, *ratios)
        )


SITE_FEAT = {"site": "feat", "form": "row", "width": "d_model"}


class FeatReader(nn.Module):
    """Gives an NRTR decoder its memory by the name ``feat``."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, feat: Tensor, out_enc: None, data_samples: list[TextRecogDataSample]) -> Any:
        assert out_enc is None
        assert feat.shape[2] == 1
        return self.decoder(None, feat.squeeze(2).transpose(1, 2), data_samples)


def test_padding_of_an_image_does_not_change_what_is_read() -> None:
    model = build()
    image = torch.randn(1, 3, 32, 64)
    padded = nn.functional.pad(image, (0, 64))
    texts = [
        model.predict(x, [sample("dog", valid_ratio=r)])[0].pred_text.score
        for x, r in ((image, 1.0), (padded, 0.5))
    ]
    # the convolutions before see two columns of the padding
    assert texts[0] == pytest.approx(texts[1], abs=0.02)


def test_fmu_before_the_encoder() -> None:
    """A layout at ``feat``: the encoder runs over the row of slots, none of them padding."""
    model = on_features(memory=SITE_FEAT, encoder=nrtr()["encoder"])
    features = torch.randn(2, WIDTH, 2, 10)
    slots = model.neck(features.flatten(2).transpose(1, 2), (2, 10), [1.0, 0.3])
    out = model._encode(slots.transpose(1, 2).unsqueeze(2), samples(1.0, 1.0))
    expected = model.decoder(None, out, samples(1.0, 1.0))
    torch.testing.assert_close(probabilities(model, features, 1.0, 0.3), expected)


def test_encoder_that_nothing_reads_keeps_its_names_and_is_frozen() -> None:
    """Or distributed training would wait for its gradients."""
    read, not_read = (build(memory={**SITE_FEAT, **x}) for x in ({}, {"holistic": "d_model"}))
    assert list(read.state_dict()) == list(not_read.state_dict())
    assert all(p.requires_grad for p in read.encoder.parameters())
    assert not any(p.requires_grad for p in not_read.encoder.parameters())
    assert all(
        p.requires_grad for x in ("neck", "decoder") for p in not_read.get_submodule(x).parameters()
    )


@pytest.mark.parametrize("with_position", [True, False])
def test_nrtrs_encoder_meets_positions(
    with_position: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = torch.randn(1, WIDTH, 2, 5)
    model = on_features(with_position=with_position)
    given: list[Tensor] = []
    forward = model.encoder.forward
    monkeypatch.setattr(model.encoder, "forward", lambda x, y: given.append(x) or forward(x, y))
    model.predict(features, [sample("dog", valid_ratio=1.0)])
    expected = sine_positions(2, 5, WIDTH) * with_position
    added = (given[0].transpose(2, 3) - features).flatten(2).mT  # column by column
    torch.testing.assert_close(added[0], expected, rtol=0, atol=1e-6)
    assert model.neck.with_position is with_position
    model.merge_attention(features, [sample("dog", valid_ratio=1.0)])
    assert torch.equal(given[1], given[0])


def test_order_of_tokens_is_nothing_to_nrtrs_encoder() -> None:
    model, features = on_features(with_position=False), torch.randn(2, WIDTH, 3, 5)
    expected = model.encoder(features, samples(1.0, 1.0))  # row by row
    torch.testing.assert_close(model._encode(features, samples(1.0, 1.0)), expected)


def test_padded_columns_of_all_rows_are_nothing_to_nrtrs_encoder() -> None:
    """MMOCR masks the end of the flattened map, the last rows, where the map has several."""
    model, features = on_features(), torch.randn(2, WIDTH, 3, 10)
    features[1] = features[0]
    features[1, :, :, 4:] = 99.0
    alone = model._forward(features[:1, ..., :4], [sample("dog", valid_ratio=1.0)])
    padded = probabilities(model, features, 0.4, 0.4)
    torch.testing.assert_close(padded, alone.expand(2, -1, -1))


def test_attention_is_a_grid_over_the_image() -> None:
    model, images = build(), torch.randn(2, 3, 32, 64)
    attention = model.merge_attention(images, samples(1.0, 0.5))
    assert attention.shape == (2, MAX_SEQ_LEN, 1, 16)
    torch.testing.assert_close(attention.sum(dim=(2, 3)), torch.ones(2, MAX_SEQ_LEN))
    assert (attention[1, ..., 8:] == 0).all()
    assert not attention.requires_grad
    grid = on_features(memory=SITE_FEAT).merge_attention(
        torch.randn(2, WIDTH, 3, 5), samples(1.0, 1.0)
    )
    assert grid.shape == (2, MAX_SEQ_LEN, 3, 5)


def test_attention_needs_an_fmu() -> None:
    with pytest.raises(ValueError, match="no FMU"):
        build(neck=None).merge_attention(torch.randn(1, 3, 32, 64), [sample("dog")])


def test_neck_follows_the_decoder_unless_set() -> None:
    neck = build().neck
    assert neck.queries.shape == (MAX_SEQ_LEN, WIDTH)
    assert neck.with_position
    own = build(neck={"type": "FMU", "num_queries": 3, "with_position": False}).neck
    assert own.queries.shape == (3, WIDTH)
    assert not own.with_position


@pytest.mark.parametrize("queries", [1, 26, 50])
def test_any_number_of_queries_trains_and_reads(queries: int) -> None:
    model = build(neck={"type": "FMU", "num_queries": queries})
    images = torch.randn(2, 3, 32, 64)
    assert torch.isfinite(loss_of(model, images, 1.0, 0.5))
    assert model.predict(images, samples(1.0, 0.5))[0].pred_text.item is not None


def test_every_parameter_learns() -> None:
    model = build()
    loss_of(model, torch.randn(2, 3, 32, 64), 1.0, 0.5).backward()
    silent = [k for k, v in model.named_parameters() if v.grad is None or not v.grad.any()]
    assert silent == []


def test_valid_ratio_may_be_missing() -> None:
    model, images = build(), torch.randn(2, 3, 32, 64)
    bare = [sample(text) for text in TEXTS]
    model.predict(images, bare)
    full = model.predict(images, samples(1.0, 1.0))
    assert [x.pred_text.item for x in bare] == [x.pred_text.item for x in full]
    assert model.merge_attention(images, bare).shape[1] == MAX_SEQ_LEN
    model.train().loss(images, bare)
    assert "valid_ratio" not in bare[0]


def test_unknown_decoder_is_refused_only_with_an_fmu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmdptr.models.memory.registry._LAYOUTS", {})
    build(neck=None)
    with pytest.raises(ValueError, match="No memory layout is known for NRTRDecoder"):
        build()
    build(memory={"site": "out_enc", "form": "sequence", "width": "d_model"})


def test_config_survives_as_far_as_mmocr_lets_it() -> None:
    decoder, neck = nrtr_decoder(), {"type": "FMU"}
    before = copy.deepcopy(neck)
    build(decoder=decoder, neck=neck)
    assert neck == before
    MODELS.build(nrtr(neck=neck, decoder=decoder))  # the same dicts build twice
