# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Studies with a trainer that only writes the files that MMEngine's writes."""

import fcntl
import importlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from mmengine.logging import MMLogger

from mmdptr.engine.decoder_loading import load_decoder
from mmdptr.engine.isolation import isolated_runner

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools" / "study"))
study_module, measure, run, table, plot = map(
    importlib.import_module, ("study", "measure", "run", "table", "plot")
)

METRIC = "recog/word_acc_ignore_case_symbol"
RECIPE = """
model = dict(type='Recognizer', neck=dict(type='FMU'), does='train', accuracy=0.5)
train_cfg = dict(max_iters=200)
val_evaluator = dict(type='MultiDatasetsEvaluator', dataset_prefixes=['A', 'B'])
custom_hooks = [dict(type='DPTRPretrainHook', pretrain_dir='stage_1'), dict(type='Last')]
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(decoder=dict(lr_mult=0.1))))
"""
TRAINER = """
    import json, runpy, sys, time
    from pathlib import Path

    config, folder = sys.argv[1], Path(sys.argv[sys.argv.index("--work-dir") + 1])
    model = runpy.run_path(config)["model"]
    with (folder / "calls").open("a") as calls:
        print(Path(sys.argv[0]).name, *sys.argv[2:], file=calls)
    print("one of the last lines", model["does"])
    if model["does"] == "fail":
        sys.exit(3)
    log = folder / f"2026{len((folder / 'calls').read_text()):04}"
    (log / "vis_data").mkdir(parents=True)
    (folder / "last_checkpoint").write_text("iter_200.pth")
    if model["does"] == "wait":
        time.sleep(60)
    accuracy = model["accuracy"]
    values = {f"{x}/METRIC": accuracy + d for x, d in (("A", 0.1), ("B", -0.1))}
    start = "2026/11/22 03:59:30 - mmengine - INFO - "
    lines = [start + "Loaded from stage_1/abc/decoder.pth: 4 decoder tensors (1 M values)."]
    entries = []
    if sys.argv[0].endswith("train.py"):
        entries = [{"loss": 1 / i, "time": 0.5, "step": i} for i in range(1, 201)]
        lines.append("2026/11/22 04:00:30 - mmengine - INFO - Iter(train) [200/200]  loss: 0.1")
        lines.append("2026/11/22 04:00:31 - mmengine - INFO - Saving checkpoint")
        if model["does"] != "skip evaluation":
            entries.append({**values, "time": 2.0, "step": 0})
            lines.append("2026/11/22 04:00:41 - mmengine - INFO - Iter(val) [5/5]  A/x: 0.6")
    elif model["does"] == "skip evaluation":
        (log / "2026.json").write_text(json.dumps(values))
        lines.append("2026/11/22 03:59:33 - mmengine - INFO - Iter(test) [5/5]  A/x: 0.6")
    (log / "x.log").write_text("\\n".join(lines))
    text = "".join(json.dumps(entry) + "\\n" for entry in entries)
    (log / "vis_data" / "scalars.json").write_text(text)
"""
STUDY: dict[str, Any] = {
    "recipes": {"one": "one.py", "two": "two.py"},
    "variants": {
        "scratch": {
            "model.neck": None,
            "custom_hooks": [{"type": "NonFiniteLossHook"}],
            "optim_wrapper.paramwise_cfg": None,
            "model.accuracy": 0.3,
        },
        "dptr": {},
    },
    "options": {"train_cfg.max_iters": 100},
}
LOCK = Path("work_dirs/study/words/one-dptr-seed0.lock")
ALL = ["one-scratch-seed0", "one-dptr-seed0", "two-scratch-seed0", "two-dptr-seed0"]


def write_study(**changes: Any) -> None:
    Path("words.yaml").write_text(yaml.safe_dump({**STUDY, **changes}, sort_keys=False))


def write_recipe(name: str, **model: Any) -> None:
    Path(name).write_text(RECIPE + f"\nmodel.update({model!r})\n")


def result(name: str) -> dict[str, Any]:
    return json.loads(Path(f"results/words/{name}.json").read_text())


def calls(name: str) -> list[str]:
    """The tools that were started in a run's work dir, and their arguments."""
    return Path(f"work_dirs/study/words/{name}/calls").read_text().splitlines()


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Recipes, a study and the trainer in a folder of their own."""
    (tmp_path / "tools").mkdir()
    for name in ("train.py", "test.py"):
        code = textwrap.dedent(TRAINER).replace("METRIC", METRIC)
        (tmp_path / "tools" / name).write_text(code)
    for name in ("one.py", "two.py"):
        (tmp_path / name).write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    write_study()
    monkeypatch.setattr(run, "TOOLS", tmp_path / "tools")
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run one of the two tools in this process; return what it printed."""

    def run_main(tool: Any, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [tool.__name__, "words.yaml", *arguments])
        tool.main()
        return capsys.readouterr().out

    return run_main


def test_every_run_leaves_a_result(call: Callable[..., str]) -> None:
    out = call(run)
    assert [line for line in out.splitlines() if line] == [
        f"{name}: average {30 if 'scratch' in name else 50:.1f} %" for name in ALL
    ]
    assert sorted(path.stem for path in Path("results/words").iterdir()) == sorted(ALL)
    found = result("one-dptr-seed0")
    assert {key: found[key] for key in ("name", "recipe", "variant", "seed", "config")} == {
        "name": "one-dptr-seed0",
        "recipe": "one",
        "variant": "dptr",
        "seed": 0,
        "config": "one.py",
    }
    assert len(found["config_sha256"]) == 64
    assert found["started"] <= found["finished"]
    assert set(found["versions"]) == {"mmdptr", "mmocr", "mmengine", "torch", "python"}
    assert found["machine"]["cores"] == os.cpu_count()
    assert found["accuracies"] == pytest.approx({"A": 0.6, "B": 0.4})
    assert found["average"] == pytest.approx(0.5)
    assert found["seconds"] == {"train": 60, "evaluation": 10}
    assert found["stage_1"] is None  # the trainer names one that is not there
    assert len(found["loss"]) == 100
    assert found["loss"][-1] == [200, 0.005]
    assert calls("one-dptr-seed0") == [
        "train.py --resume --work-dir work_dirs/study/words/one-dptr-seed0"
    ]


def test_options_reach_the_config(call: Callable[..., str]) -> None:
    call(run, "--only", "one-*")
    work_dirs = Path("work_dirs/study/words")
    scratch, dptr = (
        study_module.Config.fromfile(work_dirs / f"one-{variant}-seed0" / "config.py")
        for variant in ("scratch", "dptr")
    )
    assert scratch.model.neck is None
    assert scratch.custom_hooks == [{"type": "NonFiniteLossHook"}]
    assert scratch.optim_wrapper.paramwise_cfg is None
    assert dptr.model.neck == {"type": "FMU"}
    assert [hook.type for hook in dptr.custom_hooks] == ["DPTRPretrainHook", "Last"]
    assert dptr.optim_wrapper.paramwise_cfg.custom_keys.decoder.lr_mult == 0.1
    assert scratch.train_cfg.max_iters == dptr.train_cfg.max_iters == 100
    assert scratch.randomness.seed == 0


def test_the_options_of_a_variant_come_last() -> None:
    options = {"train_cfg.max_iters": 7, "custom_hooks.0.type": "Changed"}
    write_study(variants={"plain": None, "short": options}, seeds=[3, 4])
    runs = study_module.read_study("words.yaml").runs
    assert [x.name for x in runs[:3]] == ["one-plain-seed3", "one-short-seed3", "two-plain-seed3"]
    plain, short = (x.load_config() for x in runs[-2:])
    assert (plain.train_cfg.max_iters, short.train_cfg.max_iters) == (100, 7)
    assert short.custom_hooks[0].type == "Changed"
    assert plain.custom_hooks[0].type == "DPTRPretrainHook"
    assert short.randomness.seed == 4


def test_done_runs_are_skipped(call: Callable[..., str]) -> None:
    call(run, "--only", "one-scratch-*")
    out = call(run)
    assert "one-scratch-seed0: done before" in out
    assert "one-dptr-seed0: average" in out
    assert len(calls("one-scratch-seed0")) == 1


def test_a_changed_recipe_begins_anew(call: Callable[..., str]) -> None:
    call(run)
    write_recipe("one.py", accuracy=0.7)
    assert "one-dptr-seed0: to do again" in call(run, "--dry-run")
    out = call(run)
    assert "one-dptr-seed0: begins anew, for its config has changed" in out
    assert "one-dptr-seed0: average 70.0 %" in out
    assert "two-dptr-seed0: done before" in out
    assert len(calls("one-dptr-seed0")) == 1
    (old,) = Path("work_dirs/study/words").glob("one-dptr-seed0.2*")
    assert str(old) in out
    assert (old / "calls").is_file()
    assert result("one-dptr-seed0")["average"] == pytest.approx(0.7)


def test_where_files_lie_does_not_change_the_hash(tmp_path: Path) -> None:
    one = study_module.read_study("words.yaml").runs[1].load_config()
    other = study_module.Config.fromfile("one.py")
    other.merge_from_dict({"train_cfg.max_iters": 100, "randomness.seed": 0})
    assert study_module.config_hash(one) == study_module.config_hash(other)
    elsewhere = {"work_dir": "x", "custom_hooks.0.pretrain_dir": "y", "helper_of_a_config": 1}
    other.merge_from_dict({**elsewhere, "model.dictionary": str(tmp_path / "words.txt")})
    one.merge_from_dict({"model.dictionary": "/elsewhere/words.txt"})
    assert study_module.config_hash(one) == study_module.config_hash(other)
    one.merge_from_dict({"randomness.seed": 1})
    assert study_module.config_hash(one) != study_module.config_hash(other)


def test_a_failing_run_keeps_no_other_from_running(call: Callable[..., str], capsys: Any) -> None:
    write_recipe("one.py", does="fail")
    with pytest.raises(SystemExit, match=r"2 of 4 runs failed: one-scratch-seed0, one-dptr-seed0"):
        call(run)
    out = capsys.readouterr().out
    assert "one-dptr-seed0: failed. RuntimeError: tools/train.py ended with 3" in out
    assert "one of the last lines fail" in out
    assert "two-dptr-seed0: average 50.0 %" in out
    # mended, only these are left
    write_recipe("one.py")
    assert call(run).count("done before") == 2


def test_a_recipe_that_cannot_be_read_is_a_failing_run(
    call: Callable[..., str], capsys: Any
) -> None:
    Path("one.py").unlink()
    assert "one-dptr-seed0: cannot be done: there is no one.py" in call(run, "--dry-run")
    with pytest.raises(SystemExit, match="2 of 4"):
        call(run)
    assert "two-dptr-seed0: average" in capsys.readouterr().out


def test_a_run_that_another_runner_has_is_left_to_it(call: Callable[..., str]) -> None:
    with run.taken(LOCK) as descriptor:
        assert descriptor is not None
        out = call(run)
    assert "one-dptr-seed0: taken by another runner" in out
    assert not Path("results/words/one-dptr-seed0.json").exists()
    assert Path("results/words/two-dptr-seed0.json").exists()
    assert "one-dptr-seed0: average" in call(run)


def test_the_trainer_of_a_runner_that_died_keeps_its_run(call: Callable[..., str]) -> None:
    """As after `kill -9` of the runner alone."""
    only = ("--only", "one-dptr-*")
    LOCK.parent.mkdir(parents=True)
    with LOCK.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        trainer = subprocess.Popen(["sleep", "60"], pass_fds=[file.fileno()])
    assert "one-dptr-seed0: taken by another runner" in call(run, *only)
    trainer.kill()
    trainer.wait()
    assert "one-dptr-seed0: average" in call(run, *only)


def test_a_dry_run_does_nothing(call: Callable[..., str]) -> None:
    call(run, "--only", "two-dptr-*")
    before = sorted(Path().rglob("*"))
    out = call(run, "--dry-run")
    assert out.splitlines() == [f"{name}: to do" for name in ALL[:3]] + ["two-dptr-seed0: done"]
    assert sorted(Path().rglob("*")) == before


def wait_for(found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not found() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert found()


def test_a_killed_runner_ends_its_trainer_and_resumes(call: Callable[..., str]) -> None:
    """As `kill` does it."""
    write_recipe("one.py", does="wait")
    folder = Path("work_dirs/study/words/one-dptr-seed0").resolve()
    killer = threading.Thread(
        target=lambda: (
            wait_for((folder / "last_checkpoint").is_file),
            os.kill(os.getpid(), signal.SIGTERM),
        )
    )
    killer.start()
    begin = time.monotonic()
    with pytest.raises(SystemExit) as stopped:
        call(run, "--only", "one-dptr-*")
    killer.join()
    assert stopped.value.code == 128 + signal.SIGTERM
    assert time.monotonic() - begin < 50  # the trainer would have waited for a minute
    started = json.loads((folder / "run.json").read_text())["started"]
    # the hash is that of the same config, so nothing begins anew
    trainer = Path("tools/train.py")
    trainer.write_text(trainer.read_text().replace('== "wait"', '== "never"'))
    assert "begins anew" not in call(run, "--only", "one-dptr-*")
    assert result("one-dptr-seed0")["started"] == started
    assert [line.split()[1] for line in calls("one-dptr-seed0")] == ["--resume", "--resume"]


def test_an_evaluation_that_was_broken_off_is_made_up_for(call: Callable[..., str]) -> None:
    write_recipe("one.py", does="skip evaluation")
    assert "average 50.0 %" in call(run, "--only", "one-dptr-*")
    folder = "--work-dir work_dirs/study/words/one-dptr-seed0"
    assert calls("one-dptr-seed0") == [
        f"train.py --resume {folder}",
        f"test.py iter_200.pth {folder}",
    ]
    assert result("one-dptr-seed0")["seconds"] == {"train": 60, "evaluation": 3}


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


def test_folds_are_seeds() -> None:
    options = {"model.files": ["all.jsonl", {"ann_file": "{seed}_train.jsonl"}], "model.scale": 2}
    write_study(options=options, seeds=[0, 3])
    runs = study_module.read_study("words.yaml").runs
    files = [x.load_config().model.files for x in runs[::4]]
    assert files == [["all.jsonl", {"ann_file": f"{seed}_train.jsonl"}] for seed in (0, 3)]


def write_stage_1(folder: Path) -> None:
    """Two epochs of stage 1, which log a loss every iteration and a validation every epoch."""
    (folder / "1" / "vis_data").mkdir(parents=True)
    (folder / "1" / "vis_data" / "config.py").write_text("train_dataloader = dict(batch_size=50)")
    entries = [{"loss": 1.0, "time": 0.25, "step": 10}, {"loss": 1.0, "time": 0.75, "step": 20}]
    entries += [{"spelling/word_acc": x, "time": 9.0, "step": i} for i, x in ((1, 0.8), (2, 0.9))]
    text = "".join(json.dumps(entry) + "\n" for entry in entries)
    (folder / "1" / "vis_data" / "scalars.json").write_text(text)
    stamp = "2026/11/22 04:00:{:02} - mmengine - INFO - {}\n"
    lines = [(0, "Checkpoints will be"), (20, "Epoch(train)  [2][10/10]"), (25, "Epoch(val) [2]")]
    (folder / "1" / "1.log").write_text("".join(stamp.format(*line) for line in lines))


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
        "word_acc": 0.9,
        "seconds": 25,
        "seconds_per_1000_labels": 10.0,
    }


def read_tables(printed: str) -> list[list[list[str]]]:
    """The cells of each Markdown table, the row of dashes aside."""
    tables: list[list[list[str]]] = [[]]
    for line in printed.splitlines():
        if not line.startswith("|"):
            tables.append([])
        elif not line.startswith("|:"):
            tables[-1].append([cell.strip() for cell in line.strip("|").split("|")])
    return [table for table in tables if table]


def test_tables(call: Callable[..., str]) -> None:
    assert call(table).splitlines() == ["0 of 4 runs are done."]
    write_stage_1(Path("stage_1/abc"))
    call(run)
    Path("results/words/two-scratch-seed0.json").unlink()
    printed = call(table)
    assert printed.endswith("3 of 4 runs are done.\n")
    accuracy, stage_1 = read_tables(printed)
    assert accuracy == [
        ["recipe", "variant", "average", "A", "B", "- scratch"],
        ["one", "scratch", "30.0", "40.0", "20.0", "-"],
        ["one", "dptr", "50.0", "60.0", "40.0", "+20.0"],
        ["two", "dptr", "50.0", "60.0", "40.0", "-"],
    ]
    assert f"{os.cpu_count()} cores" in printed
    assert stage_1[1:3] == [["one", x, "90.0", "10.00", "25"] for x in ("scratch", "dptr")]


def test_words_that_training_has_seen_are_told_apart(call: Callable[..., str]) -> None:
    call(run, "--only", "one-dptr-*")
    scalars = next(Path("work_dirs/study/words/one-dptr-seed0").glob("*/vis_data/scalars.json"))
    found = {"A": (0.9, 1, 0.2, 10), "B": (0.5, 3, 0.6, 30)}
    with scalars.open("a") as file:
        for name, (seen, num_seen, unseen, num_unseen) in found.items():
            values = {"num_seen": num_seen, "num_unseen": num_unseen}
            entry = {f"{name}/recog/{key}": value for key, value in values.items()}
            entry |= {f"{name}/{METRIC}_seen": seen, f"{name}/{METRIC}_unseen": unseen, "step": 0}
            print(json.dumps(entry), file=file)
    Path("results/words/one-dptr-seed0.json").unlink()
    call(run, "--only", "one-dptr-*")
    assert result("one-dptr-seed0")["seen_words"] == pytest.approx({"seen": 0.6, "unseen": 0.5})
    assert read_tables(call(table))[0] == [
        ["recipe", "variant", "average", "A", "B", "seen words", "unseen words", "- scratch"],
        ["one", "dptr", "50.0", "60.0", "40.0", "60.0", "50.0", "-"],
    ]


def test_several_seeds_give_mean_and_spread(call: Callable[..., str]) -> None:
    write_study(seeds=[0, 1])
    call(run, "--only", "one-*")
    for name, average in (("scratch", 0.1), ("dptr", 0.6)):
        file = Path(f"results/words/one-{name}-seed1.json")
        found = {**result(f"one-{name}-seed1"), "average": average}
        file.write_text(json.dumps(found))
    _, scratch, dptr = read_tables(call(table))[0]
    assert scratch[2] == "20.0 ± 14.1"
    assert dptr[2] == "55.0 ± 7.1"
    assert dptr[-1] == "+35.0 ± 21.2"


def test_options_of_a_recipe_come_between_those_of_study_and_variant() -> None:
    options = {"train_cfg.max_iters": 7, "model.accuracy": 0.9}
    write_study(recipes={"one": {"config": "one.py", **options}})
    scratch, dptr = (x.load_config() for x in study_module.read_study("words.yaml").runs)
    assert (scratch.train_cfg.max_iters, scratch.model.accuracy) == (7, 0.3)
    assert (dptr.train_cfg.max_iters, dptr.model.accuracy) == (7, 0.9)


def test_accuracy_is_drawn_against_the_number_in_a_recipes_name(call: Callable[..., str]) -> None:
    write_study(recipes={"a@500": "one.py", "a@2000": "two.py"}, seeds=[0, 1])
    with pytest.raises(SystemExit, match="no results of recipes that are named"):
        call(plot)
    call(run)
    file = Path("results/words/a@500-dptr-seed1.json")
    file.write_text(json.dumps({**result("a@500-dptr-seed1"), "average": 0.7}))
    assert "plots/study.png" in call(plot, "--out", "plots/study.png")
    assert Path("plots/study.png").read_bytes().startswith(b"\x89PNG")
    study = study_module.read_study("words.yaml")
    panels = plot.collect(table.read_results(study, Path("results/words")))
    expected = {500: pytest.approx([50, 70]), 2000: pytest.approx([50, 50])}
    assert panels["a"]["dptr"] == expected
    (axis,) = plot.draw(panels, "labelled images").axes
    dptr = axis.containers[1]
    assert dptr.lines[0].get_xydata().tolist() == pytest.approx(np.array([[500, 60], [2000, 50]]))
    low, high = dptr.lines[2][0].get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((50, 70))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("recipes: {a: {lr: 1}}\nvariants: {b: {}}", "Recipe a of .* has no config"),
        ("recipes: {}\nvariant: {}", "must have recipes and variants.*found recipes, variant"),
        ("- a", "found list"),
    ],
)
def test_wrong_studies_are_refused(call: Callable[..., str], content: str, message: str) -> None:
    Path("words.yaml").write_text(content)
    with pytest.raises(SystemExit, match=message):
        call(run)


def test_an_unknown_run_is_refused(call: Callable[..., str]) -> None:
    with pytest.raises(SystemExit, match=r"No run matches --only three\*; the runs are: one-scr"):
        call(run, "--only", "three*")


STUDIES = sorted((ROOT / "tools" / "study").glob("*.yaml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_variants_of_a_recipe_differ_in_the_model_and_its_loading_only(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    study = study_module.read_study(path)
    for recipe in study.recipes:
        configs = [study.run(recipe, variant, 0).load_config() for variant in study.variants]
        assert len({study_module.config_hash(cfg) for cfg in configs}) == len(configs)
        one = configs[0]
        assert one.param_scheduler[-1].end == one.train_cfg.max_iters
        for other in configs[1:]:
            for key in ("train_dataloader", "val_dataloader", "train_cfg", "param_scheduler"):
                assert one[key] == other[key]
            assert one.model.decoder == other.model.decoder
            assert one.optim_wrapper.type == other.optim_wrapper.type
            assert one.optim_wrapper.optimizer == other.optim_wrapper.optimizer


def test_the_studies_have_all_recognizers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    minis = {str(path) for path in Path("configs/mini").glob("dptr_*_mini.py")}
    studies = {path.stem: study_module.read_study(path) for path in STUDIES}
    assert {x["config"] for study in studies.values() for x in study.recipes.values()} == minis
    study = studies["recognizers"]
    scratch, dptr = (study.run("nrtr", x, 0).load_config() for x in ("scratch", "dptr"))
    assert scratch.model.neck is None
    assert scratch.optim_wrapper.paramwise_cfg is None
    assert [hook.type for hook in scratch.custom_hooks] == ["NonFiniteLossHook"]
    assert dptr.model.neck.type == "FMU"
    assert dptr.custom_hooks[0].type == "DPTRPretrainHook"
