# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import multiprocessing
import os
import socket
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch.distributed as dist

from mmdptr.extraction import processes
from mmdptr.extraction.processes import join_processes


@pytest.fixture(autouse=True)
def slurm(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of the first of two processes that srun has started on this machine."""
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "")  # so that it is as before in the end
        monkeypatch.delenv(name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    return {
        "SLURM_NTASKS": "2",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NODELIST": "here",
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }


def set_environment(patch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        patch.setenv(name, value)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"SLURM_NTASKS": "8"},  # a shell of salloc
        {"SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"},  # a script of sbatch
        {"SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"},
    ],
)
def test_who_was_started_alone_waits_for_nobody(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    set_environment(monkeypatch, variables)
    assert join_processes() == 0
    assert not dist.is_initialized()


def join(number: int, variables: dict[str, str], folder: Path) -> None:
    """Be one of the processes; the second comes late, as one that reads a corpus does."""
    os.environ.update(variables, SLURM_PROCID=str(number), SLURM_LOCALID=str(number))
    processes.JOINING = timedelta(seconds=8)
    local = join_processes()
    time.sleep(10 * number)
    dist.barrier()
    (folder / str(number)).write_text(f"{local} {dist.get_rank()} {dist.get_world_size()}")


def test_processes_of_srun_join_soon_and_wait_long(
    slurm: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fork = multiprocessing.get_context("fork")
    both = [fork.Process(target=join, args=(i, slurm, tmp_path)) for i in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(100)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "0": "0 0 2",
        "1": "1 1 2",
    }
    place = f"127.0.0.1:{slurm['MASTER_PORT']}"
    assert capfd.readouterr().out.count(f"Waiting for 2 processes at {place}\n") == 1


@pytest.mark.parametrize("number", ["0", "1"])
def test_missing_processes_are_not_waited_for_long(
    monkeypatch: pytest.MonkeyPatch, slurm: dict[str, str], number: str
) -> None:
    set_environment(monkeypatch, {**slurm, "SLURM_PROCID": number})
    monkeypatch.setattr(processes, "JOINING", timedelta(seconds=1))
    with pytest.raises(RuntimeError, match=r"The 2 processes did not all join at 127\.0\.0\.1:"):
        join_processes()
    assert not dist.is_initialized()


def test_slurm_names_the_first_host(
    monkeypatch: pytest.MonkeyPatch, slurm: dict[str, str], tmp_path: Path
) -> None:
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(
        '#!/bin/sh\n[ "$*" = "show hostnames here" ] && echo first && echo second\n'
    )
    scontrol.chmod(0o755)
    del slurm["MASTER_ADDR"]
    set_environment(monkeypatch, {**slurm, "PATH": str(tmp_path)})
    joined = []
    monkeypatch.setattr(processes, "_join", lambda: joined.append(os.environ["MASTER_ADDR"]))
    join_processes()
    assert joined == ["first"]


def test_without_scontrol_the_user_names_it(
    monkeypatch: pytest.MonkeyPatch, slurm: dict[str, str]
) -> None:
    del slurm["MASTER_ADDR"]
    set_environment(monkeypatch, {**slurm, "PATH": ""})
    with pytest.raises(RuntimeError, match=r"scontrol show hostnames here.*Set MASTER_ADDR"):
        join_processes()
