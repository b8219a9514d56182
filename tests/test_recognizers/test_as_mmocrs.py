# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Every recognizer is MMOCR's own, with an FMU of any size or with none."""

import math

import pytest
import torch

from mmdptr.models import DPTRRecognizer
from tests.builders import sample

from .rows import RATIO, ROWS, TEXTS, build, config, images, loss_of, make, samples, texts_of


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
