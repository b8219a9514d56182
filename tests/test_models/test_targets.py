# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import pytest
import torch
from mmocr.models.textrecog.module_losses import CEModuleLoss
from mmocr.structures import TextRecogDataSample

from mmdptr.models import DPTRLoss, PARSeqLoss
from mmdptr.models.losses.targets import select
from tests.builders import dictionary, sample

TEXTS = ["a", "", "dog7", "zebras0"]
START_AND_END = {"with_start": True, "with_end": True}
TOKENS = {
    "same start and end": {**START_AND_END, "same_start_end": True, "with_padding": True},
    "start, end, padding, unknown": {**START_AND_END, "with_padding": True, "with_unknown": True},
    "start, end": START_AND_END,
    "end": {"with_end": True},
    "padding": {"with_padding": True},
}


def targets(loss: CEModuleLoss, texts: list[str]) -> list[tuple[list[int], list[int]]]:
    done: list[TextRecogDataSample] = list(loss.get_targets([sample(text) for text in texts]))
    for x in done:
        assert x.gt_text.indexes.dtype == x.gt_text.padded_indexes.dtype == torch.long
    return [(x.gt_text.indexes.tolist(), x.gt_text.padded_indexes.tolist()) for x in done]


@pytest.mark.parametrize("tokens", TOKENS.values(), ids=TOKENS)
@pytest.mark.parametrize("cls", [DPTRLoss, PARSeqLoss])
def test_they_are_mmocrs(tokens: dict[str, Any], cls: type[CEModuleLoss]) -> None:
    settings = {"dictionary": dictionary(**tokens), "max_seq_len": 10}
    assert targets(cls(**settings), TEXTS) == targets(CEModuleLoss(**settings), TEXTS)


@pytest.mark.parametrize("letter_case", ["lower", "upper", "unchanged"])
def test_parseqs_are_mmocrs_of_labels_that_do_not_fit(letter_case: str, tmp_path: Path) -> None:
    (tmp_path / "dict.txt").write_text("\n".join("abcABC"))
    settings = {
        "dictionary": dictionary(
            tmp_path / "dict.txt", **START_AND_END, with_padding=True, with_unknown=True
        ),
        "max_seq_len": 6,
        "letter_case": letter_case,
    }
    texts = ["aBcCba", "xAy", "abca", "abcab"]  # too long, unknown, full, one too long
    assert targets(PARSeqLoss(**settings), texts) == targets(CEModuleLoss(**settings), texts)


def test_what_counts_is_selected_in_order() -> None:
    real = torch.tensor([[True, False, True], [False, True, False]])
    logits, classes = torch.randn(2, 3, 4), torch.arange(6).view(2, 3)
    chosen, expected = select(real, logits, classes)
    assert torch.equal(chosen, logits[real])
    assert expected.tolist() == [0, 2, 4]
