# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""What a text-embedding extraction loses when it is killed, and whether its bytes stay the same.

The real tool encodes made-up labels with a small CLIP. A process of it, one rank of several with
``--processes``, is killed by SIGKILL at a random moment between the first file and the end; then
the same command is repeated. The store must have the bytes of an undisturbed run. Lost are shards
that were begun and not yet safe on disk: at most one a process. What is safe must not be encoded
again.

Importing takes longer than encoding, so single processes are forked from this one, which has
imported everything; ranks are started by torchrun and import for themselves.
"""

import argparse
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed.run
from reporting import markdown, write_report

from mmdptr.clip import CLIPTextEncoder
from mmdptr.extraction.arguments import exit_with_message

TOOLS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOOLS))
import extract_text_embeddings  # noqa: E402

PATIENCE = 300.0  # seconds


class Run:
    """One start of the command; each has a folder of its own for what it notes.

    Args:
        folder (Path): Where to note the start of each process and of each shard.
        arguments (Sequence[str]): Of the tool.
        processes (int): How many ranks.
    """

    def __init__(self, folder: Path, arguments: Sequence[str], processes: int) -> None:
        folder.mkdir()
        self.log, self.output = folder / "log", folder / "output"
        self.log.touch()
        target: Callable[..., Any] = extract
        args: Sequence[Any] = [self.log, arguments]
        if processes > 1:
            code = (
                f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import kills; "
                "kills.extract(sys.argv[1], sys.argv[2:])"
            )
            launch = ["--standalone", "--nproc_per_node", str(processes), "--no-python"]
            command = [sys.executable, "-W", "ignore", "-c", code, str(self.log), *arguments]
            target, args = torch.distributed.run.main, [[*launch, *command]]
        self.process: BaseProcess = multiprocessing.get_context("fork").Process(
            target=write_output, args=[self.output, target, *args]
        )
        self.process.start()

    @property
    def pids(self) -> list[int]:
        """list[int]: A process's id for its start and for each shard that it began to encode."""
        return [int(line) for line in self.log.read_text().splitlines()]

    @property
    def encoded(self) -> int:
        """int: Shards that all processes together began to encode."""
        return len(self.pids) - len(set(self.pids))

    def kill_one(self, rng: random.Random) -> bool:
        """Kill one process of the tool; return whether it was still there."""
        try:
            os.kill(rng.choice(sorted(set(self.pids))), signal.SIGKILL)
        except ProcessLookupError:
            return False
        return self.wait() != 0

    def wait(self) -> int | None:
        """Wait until all processes have ended; return the exit code.

        Raises:
            RuntimeError: One lives on.
        """
        self.process.join(PATIENCE)
        if self.process.is_alive() or any(map(is_alive, self.pids)):
            raise RuntimeError(f"A process of {self.output} has not ended in {PATIENCE} s.")
        return self.process.exitcode


def write_output(path: Path, function: Callable[..., Any], *args: Any) -> None:
    """Call a function in this process with standard output and error in a file."""
    with path.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    function(*args)


def extract(log: str | Path, arguments: Sequence[str]) -> None:
    """Run the tool, and note its process's id at its start and at the start of each shard."""
    encode = CLIPTextEncoder.encode_ids

    def note() -> None:
        with Path(log).open("a") as file:
            file.write(f"{os.getpid()}\n")

    def noted_encode(self: CLIPTextEncoder, sentences: Sequence[Sequence[int]]) -> Any:
        note()
        return encode(self, sentences)

    note()
    CLIPTextEncoder.encode_ids = noted_encode  # type: ignore[method-assign]
    sys.argv = ["extract_text_embeddings.py", *arguments]
    extract_text_embeddings.main()


def is_alive(pid: int) -> bool:
    """Whether there is a process of this id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def read_bytes(store: Path) -> dict[str, bytes]:
    """Return the content of all files of a folder."""
    return {path.name: path.read_bytes() for path in store.iterdir()}


def count_safe(store: Path, shards: int) -> int:
    """Return how many shards of labels are safe on disk."""
    if json.loads((store / "manifest.json").read_bytes())["complete"]:
        return shards
    return len(list(store.glob("labels-*.safetensors.json")))


def wait_for(condition: Callable[[], bool], run: Run) -> None:
    """Wait until something is so, or the run has ended."""
    while run.process.is_alive() and not condition():
        time.sleep(0.001)


def kill_once(
    root: Path, start: Callable[[Path], Run], shards: int, seconds: float, rng: random.Random
) -> dict[str, int] | None:
    """Kill a run and repeat it.

    Args:
        root (Path): A new folder.
        start (Callable): Starts the command that writes ``store`` in a folder.
        shards (int): Shards of labels.
        seconds (float): What a shard takes.
        rng (random.Random): Chooses the moment and the rank.

    Returns:
        dict[str, int], optional: What was counted, or None if the run had ended before.
    """
    root.mkdir()
    store, first = root / "store", start(root)
    moment = rng.randint(0, shards)
    wait_for(lambda: (store / "manifest.json").exists() and first.encoded >= moment, first)
    time.sleep(rng.uniform(0, 2 * seconds))
    if not first.kill_one(rng):
        first.wait()
        return None
    safe = count_safe(store, shards)
    again = start(root)
    if again.wait() != 0:
        raise RuntimeError(f"The repeated command failed:\n{again.output.read_text()}")
    return {"safe": safe, "lost": first.encoded - safe, "again": again.encoded - (shards - safe)}


def measure(root: Path, kills: int, processes: int, options: argparse.Namespace) -> dict[str, Any]:
    """Kill runs until ``kills`` were hit, and summarise."""
    rng = random.Random(options.seed)
    words = root / "words.txt"
    words.write_text("\n".join(f"{rng.getrandbits(40):x}" for _ in range(options.labels)))

    def start(folder: Path) -> Run:
        arguments = [str(words), "--out", str(folder / "store"), "--model", "mmdptr-tiny"]
        arguments += ["--pretrained", "random", "--threads", "1"]
        arguments += ["--shard-size", str(options.shard_size)]
        return Run(folder / f"run{len(list(folder.glob('run*')))}", arguments, processes)

    (root / "whole").mkdir()
    whole = start(root / "whole")
    wait_for(lambda: whole.encoded > 0, whole)
    begin = time.perf_counter()
    if whole.wait() != 0:
        raise RuntimeError(f"The tool failed:\n{whole.output.read_text()}")
    seconds = (time.perf_counter() - begin) / whole.encoded
    expected = read_bytes(root / "whole" / "store")
    counts: list[dict[str, int]] = []
    same, number = 0, 0
    while len(counts) < kills:
        folder, number = root / f"kill{number}", number + 1
        count = kill_once(folder, start, whole.encoded, seconds, rng)
        if count is not None:
            counts.append(count)
            same += read_bytes(folder / "store") == expected
    safe, lost, again = ([count[key] for count in counts] for key in ("safe", "lost", "again"))
    return {
        "processes": processes,
        "kills": kills,
        "same_bytes": same,
        "shards": whole.encoded,
        "safe_at_kill": [min(safe), max(safe)],
        "most_lost": max(lost),
        "mean_lost": round(sum(lost) / kills, 2),
        "safe_but_encoded_again": sum(again),
    }


@exit_with_message
def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="default: %(default)s")
    parser.add_argument("--processes", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--labels", type=int, default=400, help="default: %(default)s")
    parser.add_argument("--shard-size", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write the results here")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        row = measure(Path(root), args.kills, args.processes, args)
    cells = {
        "processes": row["processes"],
        "kills": row["kills"],
        "same bytes": row["same_bytes"],
        "on disk when killed": f"{row['safe_at_kill'][0]} to {row['safe_at_kill'][1]} of "
        f"{row['shards']} shards",
        "lost, most": row["most_lost"],
        "lost, mean": row["mean_lost"],
        "again": row["safe_but_encoded_again"],
    }
    print(markdown([cells]))
    write_report(args.json, [row], labels=args.labels, shard_size=args.shard_size)


if __name__ == "__main__":
    main()
