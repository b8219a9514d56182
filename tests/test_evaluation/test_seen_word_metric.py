# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import pytest
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from mmengine.structures import LabelData
from mmocr.registry import METRICS
from mmocr.structures import TextRecogDataSample

import mmdptr  # noqa: F401


@pytest.fixture
def train_dataset(tmp_path: Path) -> dict:
    texts = ("Hotel", "it's", "ঢাকা", "&")
    lines = [json.dumps({"filename": "none.png", "text": text}) for text in texts]
    (tmp_path / "train.jsonl").write_text("\n".join(lines) + "\n")
    part = {
        "type": "RecogTextDataset",
        "ann_file": str(tmp_path / "train.jsonl"),
        "parser_cfg": {"type": "LineJsonParser", "keys": ["filename", "text"]},
    }
    return {"type": "ConcatDataset", "datasets": [part]}


def sample(truth: str, read: str) -> TextRecogDataSample:
    found = TextRecogDataSample()
    found.gt_text, found.pred_text = LabelData(item=truth), LabelData(item=read)
    return found


def evaluate(metric: dict, pairs: list[tuple[str, str]]) -> dict:
    init_default_scope("mmocr")
    evaluator = Evaluator(METRICS.build(metric))
    # In two batches, as results of several are kept apart.
    for batch in (pairs[:1], pairs[1:]):
        evaluator.process([sample(*pair) for pair in batch], {})
    return evaluator.evaluate(len(pairs))


def test_words_of_training_are_counted_apart(train_dataset: dict) -> None:
    pairs = [("HOTEL", "hotel"), ("its", "it"), ("bar", "bar"), ("cafe", "care"), ("pub", "pup")]
    found = evaluate({"type": "SeenWordMetric", "train_dataset": train_dataset}, pairs)
    assert (found["recog/num_seen"], found["recog/num_unseen"]) == (2, 3)
    key = "recog/word_acc_ignore_case_symbol"
    assert found[f"{key}_seen"] == 0.5
    assert found[f"{key}_unseen"] == pytest.approx(1 / 3, abs=1e-4)
    assert found[key] == evaluate({"type": "WordMetric"}, pairs)[key] == 0.4


def test_an_accuracy_of_no_words_is_left_out(train_dataset: dict) -> None:
    modes = {"mode": ["exact", "ignore_case"]}
    found = evaluate(
        {"type": "SeenWordMetric", "train_dataset": train_dataset, **modes}, [("Hotel", "hotel")]
    )
    assert found["recog/word_acc_seen"] == 0
    assert found["recog/word_acc_ignore_case_seen"] == 1
    assert found["recog/num_unseen"] == 0
    assert not any(key.endswith("_unseen") for key in found if "acc" in key)


@pytest.mark.parametrize(("seen", "unseen"), [("ঢাকা", "খুলনা"), ("&", "+")])
def test_words_of_what_the_metric_leaves_out_are_told_apart(
    train_dataset: dict, seen: str, unseen: str
) -> None:
    metric = {"type": "SeenWordMetric", "train_dataset": train_dataset}
    found = evaluate(metric, [(seen, seen), (unseen, unseen), (unseen, unseen)])
    assert (found["recog/num_seen"], found["recog/num_unseen"]) == (1, 2)
