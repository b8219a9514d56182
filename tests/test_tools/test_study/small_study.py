# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""A study with a trainer that only writes the files that MMEngine's writes."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "tools" / "study"))
study_module, measure, run, results, table, plot, documented = map(
    importlib.import_module, ("study", "measure", "run", "results", "table", "plot", "documented")
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
    import fcntl, json, runpy, subprocess, sys, time
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
    if model["does"] == "wait":  # as long as its data worker, which holds a lock
        held = (folder / "worker").open("w")
        fcntl.flock(held, fcntl.LOCK_EX)
        subprocess.Popen(["sleep", "60"], pass_fds=[held.fileno()])
    (folder / "last_checkpoint").write_text("iter_200.pth")
    if model["does"] == "wait":
        time.sleep(60)
    accuracy = model["accuracy"]
    values = {f"{x}/METRIC": accuracy + d for x, d in (("A", 0.1), ("B", -0.1))}
    start = "2026/11/22 03:59:30 - mmengine - INFO - "
    lines = [start + "Loaded from stage_1/abc/decoder.pth: 4 tensors of decoder (1 M values)."]
    entries = []
    if sys.argv[0].endswith("train.py"):
        entries = [{"loss": 1 / i, "time": 0.5, "step": i} for i in range(1, 201)]
        lines.append("2026/11/22 04:00:30 - mmengine - INFO - Iter(train) [200/200]  loss: 0.1")
        lines.append("2026/11/22 04:00:31 - mmengine - INFO - Saving checkpoint")
        if model["does"] == "die in evaluation":  # that after the last step, not in an earlier one
            values = dict.fromkeys(values, 0.01)
        if model["does"] != "skip evaluation":
            entries.append({**values, "time": 2.0, "step": 0})
            lines.append("2026/11/22 04:00:41 - mmengine - INFO - Iter(val) [5/5]  A/x: 0.6")
    else:
        (log / "2026.json").write_text(json.dumps(values))
        lines.append("2026/11/22 03:59:33 - mmengine - INFO - Iter(test) [5/5]  A/x: 0.6")
    (log / "x.log").write_text("\\n".join(lines))
    text = "".join(json.dumps(entry) + "\\n" for entry in entries)
    (log / "vis_data" / "scalars.json").write_text(text)
    if sys.argv[0].endswith("train.py") and model["does"] == "die in evaluation":
        sys.exit(1)
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


def write_stage_1(folder: Path) -> None:
    """Two epochs of stage 1, which log a loss every iteration and a validation every epoch."""
    (folder / "1" / "vis_data").mkdir(parents=True)
    config = "model = dict(type='DPTRPretrainer')\ntrain_dataloader = dict(batch_size=50)"
    (folder / "1" / "vis_data" / "config.py").write_text(config)
    entries = [{"loss": 1.0, "time": 0.25, "step": 10}, {"loss": 1.0, "time": 0.75, "step": 20}]
    entries += [{"spelling/word_acc": x, "time": 9.0, "step": i} for i, x in ((1, 0.8), (2, 0.9))]
    text = "".join(json.dumps(entry) + "\n" for entry in entries)
    (folder / "1" / "vis_data" / "scalars.json").write_text(text)
    stamp = "2026/11/22 04:00:{:02} - mmengine - INFO - {}\n"
    lines = [(0, "Checkpoints will be"), (20, "Epoch(train)  [2][10/10]"), (25, "Epoch(val) [2]")]
    (folder / "1" / "1.log").write_text("".join(stamp.format(*line) for line in lines))
