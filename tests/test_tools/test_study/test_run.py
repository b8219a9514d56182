# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Which runs are carried out, and what happens to those that fail or are killed."""

import fcntl
import json
import os
import runpy
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mmdptr
from tests.test_tools.test_study.small_study import (
    ALL,
    LOCK,
    calls,
    result,
    run,
    write_recipe,
    write_study,
)


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
    assert calls("one-dptr-seed0") == ["train.py --work-dir work_dirs/study/words/one-dptr-seed0"]


def test_done_runs_are_skipped(call: Callable[..., str]) -> None:
    call(run, "--only", "one-scratch-*")
    out = call(run)
    assert "one-scratch-seed0: done before" in out
    assert "one-dptr-seed0: average" in out
    assert len(calls("one-scratch-seed0")) == 1
    # Another version's result stays, and it is said whose it is.
    path = Path("results/words/one-scratch-seed0.json")
    path.write_text(json.dumps({**result(path.stem), "versions": {"mmdptr": "0.0.1"}}))
    for arguments in (["--dry-run"], []):
        lines = call(run, *arguments).splitlines()
        assert "one-scratch-seed0: done before, by version 0.0.1" in lines
        assert "one-dptr-seed0: done before" in lines
    assert len(calls("one-scratch-seed0")) == 1


def test_what_another_version_has_done_is_renewed(call: Callable[..., str]) -> None:
    call(run, "--only", "one-*")
    path, state = Path("results/words/one-scratch-seed0.json"), "one-scratch-seed0/run.json"
    for file in (path, Path("work_dirs/study/words") / state):  # as that version would have left
        file.write_text(file.read_text().replace(mmdptr.__version__, "0.0.1"))
    renew = ("--renew", "--only", "one-*")
    assert call(run, *renew, "--dry-run").splitlines() == [
        "one-scratch-seed0: to do again: mmdptr changed",
        "one-dptr-seed0: done before",
    ]
    old = path.read_text()
    trainer = Path("tools/train.py")
    code = trainer.read_text()
    trainer.write_text("import sys; sys.exit(1)")
    with pytest.raises(SystemExit, match="1 of 1 runs failed"):
        call(run, "--renew", "--only", "one-scratch")
    assert path.read_text() == old  # until there is a new one
    trainer.write_text(code)
    out = call(run, *renew)
    assert out.count("begins anew, for mmdptr has changed") == 1  # what failed printed it
    assert "one-scratch-seed0: average 30.0 %" in out
    assert "one-dptr-seed0: done before" in out
    assert result("one-scratch-seed0")["versions"]["mmdptr"] == mmdptr.__version__


def test_what_another_study_has_measured_is_taken_from_there(call: Callable[..., str]) -> None:
    call(run, "--only", "one-*")
    Path("results/words").rename("results/other")
    Path("results/mine").mkdir()
    Path("results/mine/notes.json").write_text("[not a result")
    known = json.loads(Path("results/other/one-dptr-seed0.json").read_text())
    write_study(recipes={"first@5": "one.py"}, variants={"new": {}, "x": {"model.accuracy": 0.7}})
    assert call(run, "--dry-run").splitlines() == [
        "first@5-new-seed0: done before, as results/other/one-dptr-seed0.json",
        "first@5-x-seed0: to do",
    ]
    out = call(run)
    assert "first@5-new-seed0: done before, as results/other/one-dptr-seed0.json" in out
    assert "first@5-x-seed0: average 70.0 %" in out
    names = {"name": "first@5-new-seed0", "recipe": "first@5", "variant": "new"}
    assert result("first@5-new-seed0") == {**known, **names}
    assert not Path("work_dirs/study/words/first@5-new-seed0").exists()
    assert "first@5-new-seed0: done before\n" in call(run)
    # Not if it is another seed, another metric counts, or another version measured it.
    write_study(recipes={"first@5": "one.py"}, variants={"new": {}}, seeds=[1])
    assert call(run, "--dry-run") == "first@5-new-seed1: to do\n"
    second = {"recipes": {"second@5": "one.py"}, "variants": {"new": {}}}
    write_study(**second, metric="word_acc")
    assert call(run, "--dry-run") == "second@5-new-seed0: to do\n"
    write_study(**second)
    assert call(run, "--dry-run").startswith("second@5-new-seed0: done before, as results/")
    for path in Path("results").glob("*/*-dptr-seed0.json"):
        path.write_text(json.dumps({**known, "versions": {"mmdptr": "0.0.1"}}))
    Path("results/words/first@5-new-seed0.json").unlink()
    assert call(run, "--dry-run") == "second@5-new-seed0: to do\n"


def test_runs_share_stage_1_unless_a_recipe_has_a_place_for_it(call: Callable[..., str]) -> None:
    recipe = Path("two.py").read_text()
    Path("two.py").write_text(recipe.replace("pretrain_dir='stage_1'", "epochs=2"))

    def places(folder: str) -> list[str]:
        configs = [f"{folder}/{x}-dptr-seed0/config.py" for x in ("one", "two")]
        return [runpy.run_path(x)["custom_hooks"][0]["pretrain_dir"] for x in configs]

    call(run)
    assert places("work_dirs/study/words") == ["stage_1", "work_dirs/study/dptr_pretrain"]
    call(run, "--work-dir", "w", "--results", "r/words", "--pretrain-dir", "shared")
    assert places("w") == ["stage_1", "shared"]


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


def test_nohups_wish_to_outlive_the_terminal_is_kept(call: Callable[..., str]) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    call(run, "--only", "one-dptr-*")
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_dry_run_does_nothing(call: Callable[..., str]) -> None:
    call(run, "--only", "two-dptr-*")
    before = sorted(Path().rglob("*"))
    out = call(run, "--dry-run")
    *others, last = out.splitlines()
    assert others == [f"{name}: to do" for name in ALL[:3]]
    assert last == "two-dptr-seed0: done before"
    assert sorted(Path().rglob("*")) == before


def is_free(lock: Path) -> bool:
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def wait_for(found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not found() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert found()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_killed_runner_ends_its_trainer_and_its_workers_and_resumes(
    call: Callable[..., str], number: signal.Signals
) -> None:
    """As `kill` does it, and the terminal when it is closed."""
    write_recipe("one.py", does="wait")
    write_study(options={"train_cfg.max_iters": 100, "load_from": "before.pth"})
    folder = Path("work_dirs/study/words/one-dptr-seed0").resolve()
    killer = threading.Thread(
        target=lambda: (
            wait_for((folder / "last_checkpoint").is_file),
            os.kill(os.getpid(), number),
        )
    )
    killer.start()
    begin = time.monotonic()
    with pytest.raises(SystemExit) as stopped:
        call(run, "--only", "one-dptr-*")
    killer.join()
    assert stopped.value.code == 128 + number
    assert time.monotonic() - begin < 50  # the trainer would have waited for a minute
    wait_for(lambda: is_free(folder / "worker"))
    assert runpy.run_path(str(folder / "config.py"))["load_from"] == "before.pth"
    started = json.loads((folder / "run.json").read_text())["started"]
    # the hash is that of the same config, so nothing begins anew
    trainer = Path("tools/train.py")
    trainer.write_text(trainer.read_text().replace('== "wait"', '== "never"'))
    assert "begins anew" not in call(run, "--only", "one-dptr-*")
    assert result("one-dptr-seed0")["started"] == started
    assert [line.split()[1] for line in calls("one-dptr-seed0")] == ["--work-dir", "--resume"]
    # With both, MMEngine would resume from the checkpoint that the run only begins with.
    assert runpy.run_path(str(folder / "config.py"))["load_from"] is None


@pytest.mark.parametrize("interruption", [SystemExit(143), KeyboardInterrupt()])
def test_a_kill_while_mmengine_formats_a_config_is_no_failing_run(
    call: Callable[..., str], monkeypatch: pytest.MonkeyPatch, interruption: BaseException
) -> None:
    def formatter(*_: object, **__: object) -> None:
        raise interruption

    monkeypatch.setattr("mmengine.config.config.FormatCode", formatter)
    with pytest.raises(type(interruption)) as stopped:
        call(run)
    assert stopped.value is interruption
    assert len(list(Path("work_dirs/study/words").glob("*.lock"))) == 1  # no other was begun


def test_an_evaluation_that_was_broken_off_is_made_up_for(call: Callable[..., str]) -> None:
    write_recipe("one.py", does="skip evaluation")
    assert "average 50.0 %" in call(run, "--only", "one-dptr-*")
    folder = "--work-dir work_dirs/study/words/one-dptr-seed0"
    assert calls("one-dptr-seed0") == [
        f"train.py {folder}",
        f"test.py iter_200.pth {folder}",
    ]
    assert result("one-dptr-seed0")["seconds"] == {"train": 60, "evaluation": 3}


def test_the_accuracy_of_an_earlier_step_is_not_that_of_a_killed_run(
    call: Callable[..., str],
) -> None:
    write_recipe("one.py", does="die in evaluation")
    write_study(options={"train_cfg.max_iters": 200})
    with pytest.raises(SystemExit, match="1 of 1 runs failed"):
        call(run, "--only", "one-dptr-*")
    assert "average 50.0 %" in call(run, "--only", "one-dptr-*")
    assert [line.split()[0] for line in calls("one-dptr-seed0")] == ["train.py", "test.py"]
