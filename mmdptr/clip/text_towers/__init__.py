# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The text towers of open_clip, each run as fast as its attention allows."""

from open_clip.hf_model import HFTextEncoder

from mmdptr.clip.loading import LoadedCLIP

from .causal_tower import CausalTower, causal_text_tower, is_causal, project_text
from .hf_tower import HFTower
from .padded_tower import PaddedTower
from .text_tower import TextTower

__all__ = [
    "CausalTower",
    "HFTower",
    "PaddedTower",
    "TextTower",
    "build_text_tower",
    "causal_text_tower",
    "project_text",
]


def build_text_tower(
    clip: LoadedCLIP, prefix_ids: list[int], pad_id: int, compile: bool = False
) -> TextTower:
    """Return the fastest way to run the text tower of a CLIP, with open_clip's own numbers.

    Args:
        clip (LoadedCLIP): The CLIP.
        prefix_ids (list[int]): Token ids that most sentences begin with.
        pad_id (int): What the tokenizer puts behind a sentence.
        compile (bool): Whether to compile the blocks, if the tower is causal. Defaults to False.
    """
    if is_causal(clip):
        return CausalTower(clip, prefix_ids, compile)
    if isinstance(getattr(clip.model, "text", None), HFTextEncoder):
        return HFTower(clip)
    return PaddedTower(clip, pad_id)
