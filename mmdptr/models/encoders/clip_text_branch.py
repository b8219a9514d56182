# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""CLIP's text tower as a part of a recognizer, which learns."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from mmocr.registry import MODELS
from torch import Tensor

from mmdptr.clip.loading import RANDOM, load_clip
from mmdptr.clip.text_encoder import causal_text_tower, project_text

CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


@MODELS.register_module()
class CLIPTextBranch(BaseModule):
    """Encodes texts that were read from images, as CLIP4STR does (arXiv 2305.14014, section 3.2).

    A text becomes lower case and loses all but letters and digits; there is no prompt. Building
    makes random weights; CLIP's own are loaded by ``init_weights``, as in
    :class:`CLIPVisionBackbone`.

    Args:
        model (str): A model of open_clip with CLIP's own text tower. Defaults to
            ``'ViT-B-16-quickgelu'``.
        pretrained (str): A pretrained tag of open_clip, a local weights file, or ``'random'``.
            Defaults to ``'openai'``.
        context_length (int): Tokens S a text, with start and end; longer ones are cut. Defaults to
            16.
        frozen_stages (int): Blocks that do not learn, and the embedding before them; 0 freezes the
            embedding alone, -1 nothing. Defaults to 6.
        characters (str): What is kept of a text. Defaults to digits and lower-case letters.
        cache_dir (str, optional): Where open_clip keeps downloads. Defaults to its own choice.
        init_cfg (dict or list[dict], optional): Initialization config; goes before CLIP's weights.
            Defaults to None.

    Raises:
        ValueError: Unknown model; it has another text tower; its context is shorter; or there are
            fewer blocks than frozen ones.
    """

    def __init__(
        self,
        model: str = "ViT-B-16-quickgelu",
        pretrained: str = "openai",
        context_length: int = 16,
        frozen_stages: int = 6,
        characters: str = CHARACTERS,
        cache_dir: str | None = None,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.model = model
        self.pretrained = pretrained
        self.context_length = context_length
        self.characters = frozenset(characters)
        self.cache_dir = cache_dir
        clip = load_clip(model, RANDOM, custom_text=True)
        self.tokenizer = clip.tokenizer
        self.tower = causal_text_tower(clip).requires_grad_().train()
        if context_length > self.tower.context_length:
            raise ValueError(
                f"CLIPTextBranch: context_length is {context_length}, but the context of {model!r} "
                f"has {self.tower.context_length} tokens."
            )
        self._freeze(frozen_stages)

    def _freeze(self, stages: int) -> None:
        blocks = self.tower.transformer.resblocks
        if stages > len(blocks):
            raise ValueError(
                f"CLIPTextBranch: frozen_stages is {stages}, but {self.model!r} has {len(blocks)} "
                "blocks."
            )
        if stages < 0:
            return
        self.tower.positional_embedding.requires_grad_(False)
        for module in (self.tower.token_embedding, *blocks[:stages]):
            module.requires_grad_(False)

    def init_weights(self) -> None:
        """Load CLIP's weights, or what ``init_cfg`` says.

        Raises:
            ValueError: Unknown tag, or the weights need another activation than the model has.
            FileNotFoundError: ``pretrained`` looks like a file, but there is none.
            RuntimeError: The weights could not be downloaded, read, or do not fit the model.
        """
        if self.init_cfg:
            super().init_weights()
        elif self.pretrained != RANDOM:
            clip = load_clip(
                self.model, self.pretrained, cache_dir=self.cache_dir, custom_text=True
            )
            self.tower.load_state_dict(causal_text_tower(clip).state_dict())

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Return the features of all tokens in CLIP's joint space.

        Args:
            texts (Sequence[str]): N texts.

        Returns:
            Tensor: Of shape (N, S, C), padding included.
        """
        kept = ["".join(x for x in text.lower() if x in self.characters) for text in texts]
        tower, size = self.tower, self.context_length
        ids = self.tokenizer(kept, context_length=size).to(tower.positional_embedding.device)
        x = tower.token_embedding(ids) + tower.positional_embedding[:size]
        future = torch.full((size, size), float("-inf"), device=x.device).triu(1)
        x = tower.transformer(x, attn_mask=future.to(x.dtype))
        return project_text(tower, tower.ln_final(x))
