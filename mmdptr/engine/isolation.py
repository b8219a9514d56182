# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Running one MMEngine runner inside another without a trace."""

import random
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

_GLOBALS = (DefaultScope, MMLogger, MessageHub, Visualizer)


@contextmanager
def isolated_runner() -> Iterator[None]:
    """Restore what a runner leaves behind in the process.

    MMEngine's current scope, logger, message hub and visualizer are those that were made last, and
    a runner seeds the global random generators. After this context they are again those of the
    outer runner, so that fine-tuning goes the same way whether stage 1 just ran or was cached.
    """
    instances = [OrderedDict(cls._instance_dict) for cls in _GLOBALS]
    python_state, numpy_state = random.getstate(), np.random.get_state()
    # Of several GPUs one is this process's; unless told, PyTorch initializes all of them.
    gpus = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(gpus, device_type="cuda"):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        for cls, saved in zip(_GLOBALS, instances, strict=True):
            cls._instance_dict = saved
