# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2] / "tools" / "study"))
CONFIG = """
sets = [
    dict(type='RecogTextDataset', data_root='.', ann_file=f'{name}.jsonl', test_mode=True,
         parser_cfg=dict(type='LineJsonParser', keys=['filename', 'text'])) for name in 'ab']
test_dataloader = dict(dataset=dict(type='ConcatDataset', datasets=sets))
test_evaluator = dict(metrics=[dict(type='WordMetric')], dataset_prefixes=['A', 'B'])
"""
WORDS = {"a": ["Hot", "tea"], "b": ["bus", "x"]}
READ = {0: "hot!", 1: "tee", 2: "bus", 3: None}  # by the grey of the image


class Reader:
    """Stands for rapidocr, which CI does not install."""

    def __init__(self, params: dict) -> None:
        assert params["Global.text_score"] == 0  # what it is unsure of counts as read

    def __call__(self, image: np.ndarray, use_det: bool, use_cls: bool) -> SimpleNamespace:
        assert not use_det
        assert not use_cls
        text = READ[int(image[0, 0, 0])]
        return SimpleNamespace(txts=(text,) if text else None)


def test_accuracies_are_those_of_the_configs_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = ModuleType("rapidocr")
    fake.RapidOCR = Reader  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "rapidocr", fake)
    monkeypatch.chdir(tmp_path)
    for number, (name, text) in enumerate((n, t) for n, words in WORDS.items() for t in words):
        Image.new("RGB", (8, 8), (number,) * 3).save(f"{number}.png")
        with Path(f"{name}.jsonl").open("a") as file:
            print(json.dumps({"filename": f"{number}.png", "text": text}), file=file)
    Path("config.py").write_text(CONFIG)
    monkeypatch.setattr(sys, "argv", ["ceiling.py", "config.py", "--out", "ceiling.json"])
    tool = importlib.import_module("ceiling")
    monkeypatch.setattr(tool, "version", lambda name: "3")
    tool.main()
    found = json.loads(Path("ceiling.json").read_text())
    key = "recog/word_acc_ignore_case_symbol"
    assert found["model"] == "rapidocr 3"
    assert [found["accuracies"][x][key] for x in "AB"] == [0.5, 0.5]
    assert found["average"] == {key: 0.5}
    assert "| average | 50.0" in capsys.readouterr().out.replace("  ", "")
