# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""CLIP's text tower as a part of a recognizer, which learns."""

from collections.abc import Sequence
from typing import Any

import torch
from mmocr.registry import MODELS
from torch import Tensor

from mmdptr.clip.loading import LoadedCLIP
from mmdptr.clip.text_towers import causal_text_tower, project_text
from mmdptr.models.clip_tower import CLIPTower

CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


@MODELS.register_module()
class CLIPTextBranch(CLIPTower):
    """Encodes texts that were read from images, as CLIP4STR does (arXiv 2305.14014, section 3.2).

    A text becomes lower case and loses all but letters and digits; there is no prompt.

    Args:
        model (str): A model of open_clip with CLIP's own text tower. Defaults to
            ``'ViT-B-16-quickgelu'``.
        pretrained (str, optional): Weights, as :func:`mmdptr.clip.load_clip` takes them. Defaults
            to None: its choice.
        context_length (int): Tokens S a text, with start and end; longer ones are cut. Defaults to
            16.
        frozen_stages (int): Blocks that do not learn, and the embedding before them; 0 freezes the
            embedding alone, -1 nothing. Defaults to 6.
        characters (str): What is kept of a text. Defaults to digits and lower-case letters.
        cache_dir (str, optional): Where open_clip keeps downloads. Defaults to its own choice.
        init_cfg (dict or list[dict], optional): Initialization config, instead of CLIP's weights.
            Defaults to None.

    Raises:
        ValueError: Unknown model; it has another text tower; its context is shorter; or there are
            fewer blocks than frozen ones.
    """

    def __init__(
        self,
        model: str = "ViT-B-16-quickgelu",
        pretrained: str | None = None,
        context_length: int = 16,
        frozen_stages: int = 6,
        characters: str = CHARACTERS,
        cache_dir: str | None = None,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(model, pretrained, cache_dir, init_cfg, custom_text=True)
        self.context_length = context_length
        self.characters = frozenset(characters)
        if context_length > self.tower.context_length:
            raise ValueError(
                f"CLIPTextBranch: context_length is {context_length}, but the context of {model!r} "
                f"has {self.tower.context_length} tokens."
            )
        embedding = (self.tower.token_embedding, self.tower.positional_embedding)
        self.freeze(frozen_stages, embedding, self.tower.transformer.resblocks)

    def find_tower(self, clip: LoadedCLIP) -> Any:
        """Return the text tower of a CLIP."""
        return causal_text_tower(clip)

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
