# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Offline randomized perturbation."""

import os
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.dist import get_rank
from mmocr.registry import TRANSFORMS
from torch.utils.data import get_worker_info

from mmdptr.embeddings import ORPBank


@TRANSFORMS.register_module()
class ORP(BaseTransform):
    """Adds CLIP features of a random natural image to text embeddings (arXiv 2408.05706).

    Each sample gets one random image and token positions of its own. For training pipelines only.

    The noise depends on the training's seed, the rank and the worker: no two ranks or workers draw
    the same, and two runs with one seed do.

    Required keys: ``embedding``, ``clip``. Modified key: ``embedding`` (float32).

    Args:
        bank (str): Folder of the ORP bank.
        scale (float): Weight of the noise, the paper's lambda. Defaults to 0.1.
        shared_positions (bool): Whether all samples of a batch get the same positions, of images of
            their own, as in the authors' public code. Defaults to False.
        verify_checksums (bool): Whether to verify the bank first. Defaults to True.

    Raises:
        FileNotFoundError: No bank there.
        ValueError: The bank is damaged, incomplete or foreign; or its CLIP or width is not that of
            the text embeddings.
    """

    def __init__(
        self,
        bank: str,
        scale: float = 0.1,
        shared_positions: bool = False,
        verify_checksums: bool = True,
    ) -> None:
        self.bank = ORPBank(bank, verify_checksums)
        self.scale = scale
        self.shared_positions = shared_positions
        self._rank = get_rank()
        self._rng: np.random.Generator | None = None
        self._source = (0, 0)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Perturb ``embedding`` of shape (L, D)."""
        return self.transform_batch([results])[0]

    def transform_batch(self, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Perturb the samples of a batch, each by an image of its own, several times faster."""
        for results in batch:
            self._check(results["clip"], results["embedding"].shape[1])
        lengths = [len(results["embedding"]) for results in batch]
        noise = self.bank.sample(lengths, self._generator(), self.shared_positions).float()
        memories = torch.cat([results["embedding"] for results in batch]).float()
        memories.add_(noise, alpha=self.scale)
        for results, memory in zip(batch, memories.split(lengths), strict=True):
            results["embedding"] = memory
        return batch

    def _check(self, clip: str, width: int) -> None:
        expected = self.bank.manifest["source"]["clip"]
        if clip != expected["weights_sha256"]:
            raise ValueError(
                f"The ORP bank {self.bank.folder} was written by another CLIP "
                f"({expected['model']}, {expected['pretrained']}) than the text embeddings. "
                "Extract both with the same --model and --pretrained."
            )
        if width != self.bank.width:
            raise ValueError(
                f"The text embeddings have width {width}, the ORP bank {self.bank.width}, that of "
                "the joint space. Extract the embeddings with --joint-space."
            )

    def _generator(self) -> np.random.Generator:
        """The generator of this process; made anew where a worker was forked, or a seed was set."""
        worker = get_worker_info()
        seed = worker.seed if worker else torch.initial_seed()
        if self._rng is None or self._source != (os.getpid(), seed):
            self._rng = np.random.default_rng([seed % 2**63, self._rank])
            self._source = (os.getpid(), seed)
        return self._rng

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(bank={str(self.bank.folder)!r}, scale={self.scale}, "
            f"shared_positions={self.shared_positions})"
        )
