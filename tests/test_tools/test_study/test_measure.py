# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""What is read from the files of a run."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.logging import MMLogger

from mmdptr.engine.decoder_loading import load_decoder
from mmdptr.engine.isolation import isolated_runner
from tests.test_tools.test_study.small_study import (
    METRIC,
    measure,
    result,
    run,
    write_stage_1,
    write_study,
)


def test_sets_without_accuracies_are_named(call: Callable[..., str], capsys: Any) -> None:
    write_study(options={"val_evaluator.dataset_prefixes": ["A", "C"]})
    with pytest.raises(SystemExit, match="4 of 4"):
        call(run)
    assert f"has not logged {Path(METRIC).name} of all its test sets" in capsys.readouterr().out


def test_another_metric_of_a_recipe_with_one_test_set(call: Callable[..., str]) -> None:
    write_study(metric="word_acc", options={"val_evaluator.dataset_prefixes": None})
    for name in ("train.py", "test.py"):
        tool = Path("tools") / name
        code = tool.read_text().replace(f'f"{{x}}/{METRIC}"', '"recog/word_acc"')
        tool.write_text(code.replace('(("A", 0.1), ("B", -0.1))', '(("A", 0.2),)'))
    call(run, "--only", "one-dptr-*")
    assert result("one-dptr-seed0")["accuracies"] == {"test": 0.7}
    assert result("one-dptr-seed0")["average"] == 0.7
    assert result("one-dptr-seed0")["seen_words"] is None
    folder = Path("work_dirs/study/words/one-dptr-seed0")
    values = {"num_seen": 1, "num_unseen": 3, "word_acc_seen": 0.5, "word_acc_unseen": 0.25}
    with next(folder.glob("*/vis_data/scalars.json")).open("a") as file:
        print(json.dumps({f"recog/{key}": x for key, x in values.items()} | {"step": 0}), file=file)
    Path("results/words/one-dptr-seed0.json").unlink()
    call(run, "--only", "one-dptr-*")
    assert result("one-dptr-seed0")["seen_words"] == {"seen": 0.5, "unseen": 0.25}


def test_a_recipe_without_evaluator_is_refused(call: Callable[..., str], capsys: Any) -> None:
    write_study(options={"val_evaluator": None})
    with pytest.raises(SystemExit, match="4 of 4"):
        call(run)
    assert "has no val_evaluator, expected one" in capsys.readouterr().out


def test_stage_1_is_found_by_what_the_hook_logs(tmp_path: Path) -> None:
    write_stage_1(tmp_path / "stage_1" / "abc")
    checkpoint = tmp_path / "stage_1" / "abc" / "decoder.pth"
    torch.save({"meta": {"dptr": {"dictionary": ["a"]}}, "state_dict": {}}, checkpoint)
    decoder = SimpleNamespace(dictionary=SimpleNamespace(dict=["a"]))
    recognizer = SimpleNamespace(decoder=decoder, load_state_dict=lambda *_, **__: None)
    (tmp_path / "run" / "1").mkdir(parents=True)
    with isolated_runner():
        MMLogger.get_instance("study", log_file=str(tmp_path / "run" / "1" / "1.log"))
        load_decoder(recognizer, checkpoint, parts=())
    assert measure.stage_1(tmp_path / "run") == {
        "fingerprint": "abc",
        "pretrainer": "DPTRPretrainer",
        "word_acc": 0.9,
        "seconds": 25,
        "seconds_per_1000_labels": 10.0,
    }
