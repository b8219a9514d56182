# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Carry out the training runs of a study that are not done yet, and write a JSON for each.

Killed and started again, it goes on from the last checkpoint. Several may work on one study at the
same time: each run is taken by one of them. A run whose config has changed is done again. One that
another version of mmdptr has done stays done, and it is said which; --renew does it again, and its
result stands until then. What another study has measured with the same config, seed and version, in
a folder beside this one's results, is taken from there. Of runs whose stage 1 is the same, one
carries it out, and the others wait for it.
"""

import argparse
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from measure import accuracies, measure
from mmengine.config import Config
from study import Run, config_hash, read_study, results_folder
from tqdm import tqdm

import mmdptr
from mmdptr.extraction.arguments import exit_with_message

TOOLS = Path(__file__).parents[1]
TAIL = 20  # lines of the log of a failed run


@contextmanager
def taken(path: Path) -> Iterator[int | None]:
    """Take a run by its lock file; give None if another runner has it.

    The trainer inherits the descriptor, and the lock with it: if this process is killed outright,
    nobody takes the run before its trainer has ended. Lock libraries do not hand theirs out.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        try:
            yield file.fileno()
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # even if a data worker still holds the descriptor


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file that is complete or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def recorded_hash(path: Path) -> str | None:
    """Return the config hash in a JSON, None if there is no such file."""
    return json.loads(path.read_text(encoding="utf-8"))["config_sha256"] if path.is_file() else None


def done(result: Path, sha256: str, renew: bool) -> str | None:
    """Say that there is a result of a config, and which other version of mmdptr it is of.

    None if there is none, or, to ``renew``, none of this version.
    """
    if recorded_hash(result) != sha256:
        return None
    version = json.loads(result.read_text(encoding="utf-8"))["versions"]["mmdptr"]
    if version == mmdptr.__version__:
        return "done before"
    return None if renew else f"done before, by version {version}"


def find_elsewhere(result: Path, sha256: str, metric: str) -> Path | None:
    """Return the result that another study has of the same config, which holds the seed, too.

    Only of this version of mmdptr: another may pre-train otherwise.
    """
    # Other folders there may hold anything: a result is named after its run.
    for path in sorted(result.parent.parent.glob("*/*-seed*.json")):
        if path.parent != result.parent:
            found = json.loads(path.read_text(encoding="utf-8"))
            same = found.get("config_sha256") == sha256 and found.get("metric", metric) == metric
            if same and found["versions"]["mmdptr"] == mmdptr.__version__:
                return path
    return None


def prepare(folder: Path, sha256: str) -> str:
    """Make a work dir, or find that of the same config, and return when its run was started.

    One that another version of mmdptr has left is as that of another config.
    """
    state = folder / "run.json"
    identity = {"config_sha256": sha256, "mmdptr": mmdptr.__version__}
    found = json.loads(state.read_text(encoding="utf-8")) if state.is_file() else {}
    if folder.exists() and not found.items() >= identity.items():
        old = folder.with_name(f"{folder.name}.{datetime.now():%Y%m%d_%H%M%S}")
        folder.rename(old)
        changed = "mmdptr" if found.get("config_sha256") == sha256 else "its config"
        tqdm.write(f"{folder.name}: begins anew, for {changed} has changed; see {old} for the old.")
    if not folder.exists():
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        write_json(state, {**identity, "started": now})
    return str(json.loads(state.read_text(encoding="utf-8"))["started"])


def execute(tool: str, folder: Path, lock: int, *arguments: str) -> None:
    """Run a tool on the config in a work dir; an exception here, such as Ctrl-C, ends it at once.

    Raises:
        RuntimeError: It failed.
    """
    log = folder / "train.log"
    config, options = folder / "config.py", ("--work-dir", folder)
    command: list[str | Path] = [sys.executable, TOOLS / tool, config, *arguments, *options]
    with log.open("a") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[lock],
            start_new_session=True,
        )
        try:
            status = process.wait()
        except BaseException:
            # All of them: the data workers of a trainer that is killed alone may sleep for ever.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    if status:
        end = "\n".join(log.read_text(errors="replace").splitlines()[-TAIL:])
        raise RuntimeError(f"tools/{tool} ended with {status}; the end of {log}:\n{end}")


def share_stage_1(cfg: Config, folder: Path) -> None:
    """Keep what is pre-trained in one folder, unless a recipe has one of its own for it."""
    for hook in cfg.get("custom_hooks") or []:
        if hook.type == "DPTRPretrainHook":
            hook.setdefault("pretrain_dir", str(folder))


def carry_out(
    run: Run, folder: Path, result: Path, stage_1: Path, lock: int, renew: bool = False
) -> str:
    """Do what is left of a run, and say how it went.

    Raises:
        RuntimeError: A tool failed, or did not log the accuracies.
    """
    cfg = run.load_config()
    sha256 = config_hash(cfg)
    if outcome := done(result, sha256, renew):
        return outcome
    names = {"name": run.name, "recipe": run.recipe, "variant": run.variant}
    if other := find_elsewhere(result, sha256, run.metric):
        write_json(result, {**json.loads(other.read_text(encoding="utf-8")), **names})
        return f"done before, as {other}"
    started = prepare(folder, sha256)
    share_stage_1(cfg, stage_1)
    checkpoint = folder / "last_checkpoint"
    resume = []
    if checkpoint.is_file():
        resume = ["--resume"]
        cfg.load_from = None  # else MMEngine would resume from that
    cfg.dump(folder / "config.py")
    last = f"iter_{cfg.train_cfg.max_iters}.pth"
    trained = bool(resume) and checkpoint.read_text().endswith(last)
    if not trained:
        execute("train.py", folder, lock, *resume)
    if trained or not accuracies(cfg, folder, run.metric):
        # It was killed in the evaluation after the last step, or has left it out. Resuming does
        # not repeat that one, and what is logged may be of an earlier step.
        execute("test.py", folder, lock, checkpoint.read_text())
    if not accuracies(cfg, folder, run.metric):
        raise RuntimeError(
            f"{folder} has not logged {run.metric} of all its test sets. Give the recipe's "
            "val_evaluator and test_evaluator a WordMetric of that mode, or the study its `metric`."
        )
    content = {
        **names,
        "seed": run.seed,
        "config": run.config,
        "metric": run.metric,
        "config_sha256": sha256,
        "started": started,
        "finished": datetime.now().astimezone().isoformat(timespec="seconds"),
        **measure(cfg, folder, run.metric),
    }
    write_json(result, content)
    return f"average {100 * content['average']:.1f} %"


def preview(run: Run, result: Path, renew: bool = False) -> str:
    """Say what would happen to a run."""
    if not Path(run.config).is_file():
        return f"cannot be done: there is no {run.config}"
    found, sha256 = recorded_hash(result), config_hash(run.load_config())
    if outcome := done(result, sha256, renew):
        return outcome
    if other := find_elsewhere(result, sha256, run.metric):
        return f"done before, as {other}"
    if found is None:
        return "to do"
    return f"to do again: {'mmdptr' if found == sha256 else 'its config'} changed"


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("study", type=Path, help="YAML file, such as tools/study/recognizers.yaml")
    parser.add_argument(
        "--only", nargs="+", metavar="GLOB", help="runs, such as sar-dptr or 'sar-*'"
    )
    parser.add_argument("--work-dir", type=Path, help="default: work_dirs/study/<study>")
    parser.add_argument("--results", type=Path, help="default: results/<study> beside the study")
    parser.add_argument("--pretrain-dir", type=Path, help="default: dptr_pretrain beside work-dir")
    parser.add_argument(
        "--renew", action="store_true", help="do again what another version of mmdptr has done"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what there is to do")
    return parser.parse_args()


@exit_with_message
def main() -> None:
    """Run the tool."""
    args = parse_args()
    work_dir = args.work_dir or Path("work_dirs/study") / args.study.stem
    stage_1 = args.pretrain_dir or work_dir.parent / "dptr_pretrain"
    results = args.results or results_folder(args.study)
    runs = read_study(args.study).runs
    chosen = [run for run in runs if any(run.matches(glob) for glob in args.only or ["*"])]
    if not chosen:
        names = ", ".join(dict.fromkeys(run.row for run in runs))
        raise ValueError(f"No run matches --only {' '.join(args.only)}; the runs are: {names}.")
    if args.dry_run:
        for run in chosen:
            print(f"{run.name}: {preview(run, results / f'{run.name}.json', args.renew)}")
        return

    # Neither `kill` nor a closed terminal may leave a trainer behind: as an exception, they end it
    # like Ctrl-C. nohup's wish to outlive the terminal is kept.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: sys.exit(128 + number))
    failed = []
    progress = tqdm(chosen, unit="run")
    for run in progress:
        progress.set_description(run.name)
        result = results / f"{run.name}.json"
        with taken(work_dir / f"{run.name}.lock") as lock:
            try:
                outcome = (
                    "taken by another runner"
                    if lock is None
                    else carry_out(run, work_dir / run.name, result, stage_1, lock, args.renew)
                )
            except Exception as error:  # whatever a recipe does wrong, the others go on
                # MMEngine, while it formats a config, makes a SyntaxError of Ctrl-C and SIGTERM.
                if isinstance(error.__context__, KeyboardInterrupt | SystemExit):
                    raise error.__context__ from None
                failed.append(run.name)
                outcome = f"failed. {type(error).__name__}: {error}"
        tqdm.write(f"{run.name}: {outcome}")
    if failed:
        sys.exit(f"Error: {len(failed)} of {len(chosen)} runs failed: {', '.join(failed)}.")


if __name__ == "__main__":
    main()
