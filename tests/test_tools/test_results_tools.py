# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


def run(tool: str, *arguments: str | Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-W", "ignore", str(TOOLS / tool), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    counts = {"iiit5k": ("train", "test"), "icdar2015": ("train", "test"), "svt": ("train", "test")}
    for name, splits in {**counts, "icdar2013": ("test",)}.items():
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        for split in splits:
            lines = [
                {"filename": f"{split}/{i}.png", "text": f"{name}{i}", "in_1015": i % 2 == 0}
                if name == "icdar2013"
                else {"filename": f"{split}/{i}.png", "text": f"{name}{i}"}
                for i in range(20)
            ]
            text = "".join(json.dumps(line) + "\n" for line in lines)
            (folder / f"labels_{split}.jsonl").write_text(text)
    return tmp_path / "data"


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_real7k_splits_and_paths(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run("prepare_real7k.py", data, "--out", out)
    assert result.returncode == 0, result.stderr
    train = read(out / "train.jsonl")
    assert len(train) == 60
    assert (out / train[0]["filename"]).resolve() == data / "iiit5k" / "train" / "0.png"
    kept, held_out = read(out / "choice_train.jsonl"), read(out / "choice_val.jsonl")
    assert len(held_out) == 3
    assert sorted(x["text"] for x in kept + held_out) == sorted(x["text"] for x in train)
    few = read(out / "train_500.jsonl")  # all, if there are fewer
    assert sorted(x["text"] for x in few) == sorted(x["text"] for x in train)
    assert [x["text"] for x in few] != [x["text"] for x in train]  # drawn at random
    assert not (out / "train_rendered.jsonl").exists()
    assert len(read(out / "test_ic13.jsonl")) == 10  # the 1015 protocol only
    assert len(read(out / "test_ic15.jsonl")) == 20


def test_rendered_words_join_the_crops(data: Path, tmp_path: Path) -> None:
    rendered, out = tmp_path / "rendered", tmp_path / "out"
    rendered.mkdir()
    entry = {"filename": "train-00000/000000.jpg", "text": "drawn"}
    (rendered / "train.jsonl").write_text(json.dumps(entry) + "\n")
    result = run("prepare_real7k.py", data, "--out", out, "--rendered", rendered)
    assert result.returncode == 0, result.stderr
    *crops, last = read(out / "train_rendered.jsonl")
    assert crops == read(out / "train.jsonl")
    assert (out / last["filename"]).resolve() == rendered / "train-00000" / "000000.jpg"


def test_a_missing_set_is_named(data: Path, tmp_path: Path) -> None:
    (data / "svt" / "labels_train.jsonl").unlink()
    result = run("prepare_real7k.py", data, "--out", tmp_path / "out")
    assert result.returncode == 1
    assert "svt" in result.stderr
    assert "Traceback" not in result.stderr


CONFIG = """
train_cfg = dict(max_iters=1000)
train_dataloader = dict(batch_size=8, dataset=dict(
    type='ConcatDataset',
    datasets=[dict(data_root='data/a', ann_file='train.jsonl'), dict(ann_file='b', indices=500)]))
test_evaluator = dict(dataset_prefixes=['IIIT5K', 'SVT'])
"""


def write_run(folder: Path, accuracies: dict[str, float]) -> None:
    data = folder / "1" / "vis_data"
    data.mkdir(parents=True)
    entries = [{f"{k}/recog/word_acc_ignore_case_symbol": v for k, v in accuracies.items()}]
    text = "".join(json.dumps({**e, "step": 10}) + "\n" for e in entries)
    (data / "scalars.json").write_text(text)
    (data / "config.py").write_text(CONFIG)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_row_says_what_was_trained_and_its_average_is_the_plain_mean(tmp_path: Path) -> None:
    write_run(tmp_path / "a", {"IIIT5K": 0.5, "SVT": 0.2511, "other": 0.9})
    (tmp_path / "a" / "2").mkdir()  # a test after training
    result = {"SVT/recog/word_acc_ignore_case_symbol": 0.26}
    (tmp_path / "a" / "2" / "2.json").write_text(json.dumps(result))
    printed = run("benchmark_table.py", tmp_path / "a", f"DPTR={tmp_path / 'a'}")
    assert printed.returncode == 0, printed.stderr
    head, _, first, second = printed.stdout.splitlines()
    assert cells(head) == ["run", "trained on", "schedule", "IIIT5K", "SVT", "average, %"]
    row = ["data/a/train.jsonl, b (first 500)", "1,000 steps of 8", "0.5000", "0.2600", "38.00"]
    assert (cells(first), cells(second)) == (["a", *row], ["DPTR", *row])


def test_a_run_without_evaluation_is_named(tmp_path: Path) -> None:
    write_run(tmp_path / "a", {"IIIT5K": 0.5})
    result = run("benchmark_table.py", tmp_path / "a")
    assert result.returncode == 1
    assert "SVT" in result.stderr
    assert "Traceback" not in result.stderr


def test_curves_become_a_picture(tmp_path: Path) -> None:
    write_run(tmp_path / "a", {"IIIT5K": 0.5})
    picture = tmp_path / "curves.png"
    key = "IIIT5K/recog/word_acc_ignore_case_symbol"
    result = run("plot_curves.py", f"a={tmp_path / 'a'}", "--keys", key, "--out", picture)
    assert result.returncode == 0, result.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
