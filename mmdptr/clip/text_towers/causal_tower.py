# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""CLIP's own text tower, run only on what is not common to all sentences."""

from typing import Any

import torch
from open_clip.transformer import Transformer
from torch import Tensor, nn

from mmdptr.clip.loading import LoadedCLIP
from mmdptr.clip.prefix_transformer import PrefixTransformer, is_plain

from .text_tower import TextTower


class CausalTower(TextTower):
    """A causal transformer of open_clip, pooled at the end of text.

    The prefix runs once, and padding behind the end is left out: it never changes what stands
    before it.

    Args:
        clip (LoadedCLIP): A CLIP that :func:`is_causal`.
        prefix_ids (list[int]): Token ids of the prefix.
        compile (bool): Whether to compile the blocks. Defaults to False.
    """

    shares_prefix = True
    sees_padding = False

    def __init__(self, clip: LoadedCLIP, prefix_ids: list[int], compile: bool = False) -> None:
        self.tower = causal_text_tower(clip)
        super().__init__(clip, self.tower.ln_final.weight.numel())
        # CLIP calls it `text_eos_id`, the tower of CustomTextCLIP `eos_id`.
        eos = getattr(self.tower, "text_eos_id", getattr(self.tower, "eos_id", None))
        self.eos_id = eos if _pooling(self.tower) == "eos" else None
        with torch.inference_mode():
            ids = torch.tensor(prefix_ids, device=clip.device)
            self.transformer = PrefixTransformer(
                self.tower.transformer, self._embed(ids, 0), compile
            )

    def __call__(self, ids: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Run the tokens behind the prefix; see :class:`TextTower`."""
        own = ids[:, start:]
        states = self.tower.ln_final(self.transformer(self._embed(own, start), start))
        # Like open_clip's pooling: the first of the largest ids, or of those of the end of text.
        score = own if self.eos_id is None else (own == self.eos_id).int()
        ends = states[torch.arange(len(own), device=own.device), score.argmax(dim=1)]
        return states, self.project(ends)

    def project(self, x: Tensor) -> Tensor:
        """Project token features to the joint space; see :class:`TextTower`."""
        return project_text(self.tower, x)

    def prefix(self) -> Tensor:
        """Return the features of the prefix, of shape (P, D)."""
        return self.tower.ln_final(self.transformer.prefix)

    def _embed(self, ids: Tensor, start: int) -> Tensor:
        """Embed ids (..., S) that stand at position ``start``: (..., S, C)."""
        positions = self.tower.positional_embedding[start : start + ids.shape[-1]]
        return (self.tower.token_embedding(ids) + positions).to(self.clip.dtype)


def causal_text_tower(clip: LoadedCLIP) -> Any:
    """Return the text tower of a CLIP: the part of it, or the CLIP that is its own text tower.

    Raises:
        ValueError: It is not open_clip's causal transformer, pooled at the end of text.
    """
    # CLIP keeps its text tower in itself, CustomTextCLIP in `.text`.
    tower = getattr(clip.model, "text", clip.model)
    if not is_causal(clip):
        raise ValueError(
            f"The text tower of {clip.identity.model!r} ({type(tower).__name__}) is not "
            "open_clip's causal text transformer pooled at the end of text. Use a CLIP with "
            "one, e.g. 'ViT-B-16-quickgelu' with pretrained='openai'."
        )
    return tower


def is_causal(clip: LoadedCLIP) -> bool:
    """Whether the text tower is open_clip's causal transformer, pooled at the end of text."""
    tower = getattr(clip.model, "text", clip.model)
    transformer = getattr(tower, "transformer", None)
    return (
        getattr(tower, "attn_mask", None) is not None
        and isinstance(transformer, Transformer)
        and all(map(is_plain, transformer.resblocks))
        and _pooling(tower) in ("argmax", "eos")
        and getattr(tower, "cls_emb", None) is None
    )


def project_text(tower: Any, x: Tensor) -> Tensor:
    """Project text features (..., D) to the joint space (..., J), if the tower has a projection."""
    projection = tower.text_projection
    if projection is None:
        return x
    return projection(x) if isinstance(projection, nn.Linear) else x @ projection


def _pooling(tower: Any) -> str | None:
    # CLIP calls it `text_pool_type`, the tower of CustomTextCLIP `pool_type`.
    return getattr(tower, "text_pool_type", None) or getattr(tower, "pool_type", None)
