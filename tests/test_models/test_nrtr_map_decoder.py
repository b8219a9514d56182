# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from mmocr.models.textrecog.decoders import NRTRDecoder
from mmocr.registry import MODELS

from mmdptr.models import find_memory_layout
from tests.builders import WIDTH, nrtr_decoder, sample


@pytest.fixture(scope="module")
def decoder() -> NRTRDecoder:
    torch.manual_seed(0)
    return MODELS.build(nrtr_decoder(type="NRTRMapDecoder")).eval()


@pytest.fixture(scope="module")
def sequential(decoder: NRTRDecoder) -> NRTRDecoder:
    theirs = MODELS.build(nrtr_decoder(type="CachedNRTRDecoder")).eval()
    theirs.load_state_dict(decoder.state_dict())
    return theirs


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("argument", ["feat", "out_enc"])
def test_map_is_read_as_its_columns(
    decoder: NRTRDecoder, sequential: NRTRDecoder, argument: str, training: bool
) -> None:
    features = torch.randn(2, WIDTH, 3, 7)
    columns = features.permute(0, 3, 2, 1).flatten(1, 2)
    samples = [sample(x, valid_ratio=1.0) for x in ("dog", "c4ts")]
    found = decoder.train(training)(**{argument: features}, data_samples=samples)
    expected = sequential.train(training)(out_enc=columns, data_samples=samples)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_padded_columns_are_masked(decoder: NRTRDecoder) -> None:
    features = torch.randn(1, WIDTH, 3, 5)
    padded = torch.cat([features, torch.randn(1, WIDTH, 3, 3)], dim=3)
    read = [
        decoder.eval()(x, data_samples=[sample("dog", valid_ratio=ratio)])
        for x, ratio in ((features, 1.0), (padded, 5 / 8))
    ]
    torch.testing.assert_close(*read, atol=1e-5, rtol=1e-5)


def test_sequence_and_the_encoders_output_go_first(decoder: NRTRDecoder) -> None:
    sequence, features = torch.randn(1, 9, WIDTH), torch.randn(1, WIDTH, 3, 3)
    samples = [sample("dog", valid_ratio=1.0)]
    both = decoder.eval()(features, sequence, samples)
    assert torch.equal(both, decoder(None, sequence, samples))
    assert not torch.allclose(both, decoder(features, None, samples))


def test_nothing_to_read_is_said(decoder: NRTRDecoder) -> None:
    with pytest.raises(ValueError, match="neither `feat` nor `out_enc`"):
        decoder.eval()(data_samples=[sample("dog")])


def test_layout_is_nrtrs() -> None:
    assert find_memory_layout(nrtr_decoder(type="NRTRMapDecoder")) == find_memory_layout(
        nrtr_decoder()
    )
