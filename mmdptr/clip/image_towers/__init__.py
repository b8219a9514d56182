# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The image towers of open_clip that are transformers, and the features of all their tokens."""

from typing import Any

from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer as TimmVisionTransformer

from .image_tower import ImageTower
from .plain_tower import PlainTower
from .timm_tower import TimmTower

__all__ = ["ImageTower", "PlainTower", "TimmTower", "build_image_tower"]


def build_image_tower(visual: Any, model: str) -> ImageTower:
    """Return the image tower of a CLIP.

    Args:
        visual (nn.Module): The ``visual`` of open_clip's model.
        model (str): Name of the model.

    Raises:
        ValueError: It is no transformer of open_clip's or timm's, or open_clip adds attention
            pooling to it, behind which its tokens have no place in the joint space.
    """
    if isinstance(visual, VisionTransformer) and visual.attn_pool is None:
        return PlainTower(visual)
    trunk = getattr(visual, "trunk", visual)
    if isinstance(visual, TimmModel) and isinstance(trunk, TimmVisionTransformer | Eva):
        return TimmTower(visual)
    raise ValueError(
        f"The image tower of {model!r} is a {type(trunk).__name__}"
        f"{' with attention pooling' if hasattr(visual, 'attn_pool') else ''}; expected a vision "
        "transformer of open_clip's or timm's, as in 'ViT-B-16-quickgelu' or 'ViT-B-16-SigLIP'."
    )
