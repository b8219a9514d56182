# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Makes a training that was interrupted go on as if it had not been."""

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner, set_random_seed
from mmocr.registry import HOOKS


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Begins every training epoch with random numbers that depend on seed and epoch alone.

    MMEngine's checkpoints do not hold the state of the random generators, so that a resumed
    training draws other dropout masks and noise than one that was not interrupted. With this hook,
    a seed (``randomness``) and data workers that are not persistent, both end with the same bits
    on a CPU. Every process draws numbers of its own.
    """

    priority = "VERY_HIGH"

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed all generators."""
        seed = np.random.SeedSequence([runner.seed, runner.epoch]).generate_state(1)[0]
        set_random_seed(int(seed >> 1), diff_rank_seed=True)  # NumPy takes less than 2**32
