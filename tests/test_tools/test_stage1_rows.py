# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The cost of stage 1 by recognizer: medians, ratios, and what is trained."""

import argparse
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mmengine.registry import init_default_scope

from mmdptr.engine.isolation import isolated_runner
from mmdptr.models import PARSeqDecoder
from tests.builders import words

sys.path.insert(0, str(Path(__file__).parents[2] / "tools" / "benchmarks"))
tool = importlib.import_module("stage1_rows")


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with isolated_runner():
        init_default_scope("mmocr")
        yield


def clock(*seconds: float) -> Any:
    """A way to train that takes so long in each step."""
    left = iter(seconds)
    model = SimpleNamespace(parameters=lambda: [])
    return SimpleNamespace(model=model, seconds=lambda steps: next(left))


def test_medians_are_compared_without_the_first_step() -> None:
    ways = {"one": clock(99, 2, 8, 4), "two": clock(77, 3, 2, 1)}
    one, two = tool.measure(ways, batch=200, steps=3)
    assert one["repeats_s"] == [2, 8, 4]
    assert one["s_per_1000_labels"] == 4 * 5
    assert (one["ratio_of_medians"], two["ratio_of_medians"]) == (1, 0.5)


def test_all_small_variants_are_measured_nrtr_first() -> None:
    names = [path.stem for path in tool.default_configs()]
    assert names[0] == "dptr_nrtr_mini"
    assert {"dptr_sar_mini", "dptr_parseq_mini"} < {*names}
    assert len(set(names)) == len(names)


def test_their_own_decoders_are_trained(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("\n".join(words(20)))
    minis = {path.stem: path for path in tool.default_configs()}
    args = argparse.Namespace(
        corpus=tmp_path / "words.txt",
        configs=[minis["dptr_nrtr_mini"], minis["dptr_parseq_mini"]],
        model="mmdptr-tiny",
        labels=16,
        batch=4,
        precision="bf16",
    )
    ways = tool.build_ways(tmp_path, args)
    assert list(ways) == ["dptr_nrtr_mini", "dptr_parseq_mini"]
    decoder = ways["dptr_parseq_mini"].model.decoder
    assert isinstance(decoder, PARSeqDecoder)
    before = decoder.classifier.weight.clone()
    rows = tool.measure(ways, args.batch, 1)
    assert rows[1]["parameters"] > decoder.classifier.weight.numel()
    assert (decoder.classifier.weight != before).any()
