# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The benchmark of whole predictions: it compares what it says it compares."""

import importlib
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from mmengine.registry import init_default_scope
from mmocr.models.textrecog.decoders import NRTRDecoder
from mmocr.registry import MODELS

from mmdptr.models import CachedNRTRDecoder, NRTRMapDecoder
from tests.builders import nrtr, nrtr_decoder, sample

sys.path.insert(0, str(Path(__file__).parents[2] / "tools" / "benchmarks"))
predicting = importlib.import_module("predicting")


def recognizer(decoder_type: str) -> Any:
    init_default_scope("mmocr")
    torch.manual_seed(0)
    return MODELS.build(nrtr(decoder=nrtr_decoder(type=decoder_type))).eval()


def batches() -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "inputs": list(torch.randint(0, 255, (n, 3, 32, 64), generator=generator).byte()),
            "data_samples": [sample("dog", valid_ratio=1.0, img_shape=(32, 64)) for _ in range(n)],
        }
        for n in (4, 4, 3)
    ]


def test_both_sides_are_timed_and_compared() -> None:
    with patch.object(
        NRTRDecoder, "forward_test", autospec=True, side_effect=NRTRDecoder.forward_test
    ) as mmocrs:
        row = predicting.compare(recognizer("CachedNRTRDecoder"), batches())
    assert mmocrs.call_count == 3
    assert (row["decoder"], row["images"], row["same_texts"]) == ("CachedNRTRDecoder", 11, 11)
    assert row["max_score_difference"] < 1e-5
    assert [len(x) for x in row["seconds"].values()] == [3, 3]
    ratio = row["mmocr_s_a_batch"] / row["mmdptr_s_a_batch"]
    assert row["ratio_of_medians"] == pytest.approx(ratio, rel=0.3)  # of rounded figures


def test_other_texts_are_counted() -> None:
    def wrong(self: CachedNRTRDecoder, *args: Any) -> torch.Tensor:
        return NRTRDecoder.forward_test(self, *args).roll(1, dims=2)

    model = recognizer("CachedNRTRDecoder")
    with patch.object(CachedNRTRDecoder, "forward_test", wrong):
        row = predicting.compare(model, batches())
    assert row["same_texts"] < row["images"]


def test_the_class_that_decodes_is_found() -> None:
    found = predicting.find_classes(recognizer("CachedNRTRDecoder").decoder)
    assert found == (CachedNRTRDecoder, NRTRDecoder)
    assert predicting.find_classes(MODELS.build(nrtr_decoder(type=NRTRMapDecoder))) == found
    with pytest.raises(ValueError, match=r"NRTRDecoder decodes as in MMOCR"):
        predicting.find_classes(recognizer("NRTRDecoder").decoder)
