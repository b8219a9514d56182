# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Joining the processes that a launcher has started."""

import os
import subprocess
from datetime import timedelta

import torch.distributed

PATIENCE = timedelta(days=7)  # reading a large corpus takes the first process hours


def join_processes() -> int:
    """Join the processes of ``torchrun`` or of SLURM's ``srun``, if one of them started this.

    They exchange nothing but words when to go on, so they talk by gloo, with or without GPUs.

    Returns:
        int: The number of this process on its machine, which is that of the GPU to use.
    """
    if "RANK" not in os.environ and int(os.environ.get("SLURM_NTASKS", 1)) > 1:
        os.environ["RANK"] = os.environ["SLURM_PROCID"]
        os.environ["WORLD_SIZE"] = os.environ["SLURM_NTASKS"]
        os.environ["LOCAL_RANK"] = os.environ["SLURM_LOCALID"]
        os.environ.setdefault("MASTER_PORT", "29500")
        if "MASTER_ADDR" not in os.environ:
            command = ["scontrol", "show", "hostnames", os.environ["SLURM_NODELIST"]]
            hosts = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            os.environ["MASTER_ADDR"] = hosts.split()[0]
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        torch.distributed.init_process_group("gloo", timeout=PATIENCE)
    return int(os.environ.get("LOCAL_RANK", 0))
