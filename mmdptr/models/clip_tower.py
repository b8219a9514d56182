# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""A tower of CLIP as a part of a recognizer."""

from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModule
from torch import nn

from mmdptr.clip.loading import RANDOM, LoadedCLIP, load_clip


class CLIPTower(BaseModule):
    """Base class of modules that take over a transformer of CLIP, which learns on as ``tower``.

    Building makes random weights of the right sizes; CLIP's own are loaded by ``init_weights``, so
    before training and not where a checkpoint brings all weights anyway. Subclasses say in
    :meth:`find_tower` which part of CLIP they are.

    Args:
        model (str): A model of open_clip.
        pretrained (str, optional): Weights, as :func:`mmdptr.clip.load_clip` takes them.
        cache_dir (str, optional): Where open_clip keeps downloads; None for its own choice.
        init_cfg (dict or list[dict], optional): Initialization config; if given, it is what
            ``init_weights`` does.
        options: Further arguments of :func:`mmdptr.clip.load_clip`.

    Raises:
        ValueError: Unknown model, or it has another tower.
    """

    def __init__(
        self,
        model: str,
        pretrained: str | None,
        cache_dir: str | None,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None,
        **options: Any,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.model = model
        self.pretrained = pretrained
        self.clip_options = {"cache_dir": cache_dir, **options}
        clip = load_clip(model, RANDOM, **self.clip_options)
        self.tokenizer = clip.tokenizer
        self.tower = self.find_tower(clip).requires_grad_().train()

    def find_tower(self, clip: LoadedCLIP) -> Any:
        """Return the part of a CLIP that this module is."""
        raise NotImplementedError

    def freeze(
        self,
        stages: int,
        embedding: Sequence[nn.Module | nn.Parameter],
        blocks: Sequence[nn.Module],
    ) -> None:
        """Let the embedding and the first blocks stay as they are.

        Args:
            stages (int): Blocks; 0 freezes the embedding alone, -1 nothing.
            embedding (Sequence): What stands before the blocks.
            blocks (Sequence): The blocks.

        Raises:
            ValueError: There are fewer blocks.
        """
        if stages > len(blocks):
            raise ValueError(
                f"{type(self).__name__}: frozen_stages is {stages}, but {self.model!r} has "
                f"{len(blocks)} blocks."
            )
        for part in (*embedding, *blocks[:stages]) if stages >= 0 else ():
            part.requires_grad_(False)

    def init_weights(self) -> None:
        """Load CLIP's weights, or do what ``init_cfg`` says.

        Raises:
            ValueError: Unknown tag, or the weights need another activation than the model has.
            FileNotFoundError: ``pretrained`` looks like a file, but there is none.
            RuntimeError: The weights could not be downloaded, read, or do not fit the model.
        """
        if self.init_cfg:
            super().init_weights()
        elif self.pretrained != RANDOM:
            clip = load_clip(self.model, self.pretrained, **self.clip_options)
            weights = self.find_tower(clip).state_dict()
            self.tower.load_state_dict({name: weights[name] for name in self.tower.state_dict()})
