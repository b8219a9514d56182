# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Joining the processes that a launcher has started."""

import os
import subprocess
from datetime import timedelta

import torch.distributed as dist

JOINING = timedelta(minutes=10)  # a busy disk starts some processes minutes after others
PATIENCE = timedelta(days=7)  # reading a large corpus takes the first process hours


def join_processes() -> int:
    """Join the processes of ``torchrun`` or of SLURM's ``srun``, if one of them started this.

    They exchange nothing but words when to go on, so they talk by gloo, with or without GPUs.

    Returns:
        int: The number of this process on its machine, which is that of the GPU to use.

    Raises:
        RuntimeError: They do not find each other.
    """
    # Whoever was started without srun is alone, whatever SLURM_NTASKS says of the allocation.
    if "RANK" not in os.environ and int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        os.environ["RANK"] = os.environ["SLURM_PROCID"]
        os.environ["WORLD_SIZE"] = os.environ["SLURM_STEP_NUM_TASKS"]
        os.environ["LOCAL_RANK"] = os.environ["SLURM_LOCALID"]
        os.environ.setdefault("MASTER_PORT", "29500")
        if "MASTER_ADDR" not in os.environ:
            os.environ["MASTER_ADDR"] = _first_host(os.environ["SLURM_STEP_NODELIST"])
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        _join()
    return int(os.environ.get("LOCAL_RANK", 0))


def _first_host(nodes: str) -> str:
    command = ["scontrol", "show", "hostnames", nodes]
    try:
        hosts = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise RuntimeError(
            f"'{' '.join(command)}' cannot say where the first process runs ({error}). Set "
            "MASTER_ADDR to the name of the first of these nodes."
        ) from error
    return hosts.split()[0]


def _join() -> None:
    size = os.environ["WORLD_SIZE"]
    place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    if os.environ["RANK"] == "0":
        print(f"Waiting for {size} processes at {place}", flush=True)
    try:
        store, rank, world_size = next(dist.rendezvous("env://", timeout=JOINING))
        group = {"backend": "gloo", "rank": rank, "world_size": world_size}
        # A first group sees whether all are there and reach each other; it is not kept, for its
        # timeout is that of all that it does.
        meeting = dist.PrefixStore("meeting", store)
        dist.init_process_group(**group, store=meeting, timeout=JOINING)
        dist.barrier()
        dist.destroy_process_group()
    except RuntimeError as error:
        raise RuntimeError(
            f"The {size} processes did not all join at {place}, for which they have "
            f"{JOINING.total_seconds() / 60:g} minutes ({str(error).splitlines()[0]}). See whether "
            "one of them has ended, and whether their machines reach each other; MASTER_ADDR and "
            "MASTER_PORT set another place."
        ) from error
    dist.init_process_group(**group, store=store, timeout=PATIENCE)
