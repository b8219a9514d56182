# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""A plain vision transformer before a decoder."""

import copy
from typing import Any

from mmengine.model import BaseModule
from mmocr.registry import MODELS
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor


@MODELS.register_module()
class ViT(VisionTransformer, BaseModule):
    """Timm's ``VisionTransformer`` as a backbone of MMOCR.

    The defaults are the ViT-S/4 of MAERec ("Revisiting Scene Text Recognition: A Data Perspective",
    arXiv 2307.08723). Parameters keep timm's names, so weights of timm and the backbone of MAERec
    load. The output is the map of patches; a class token takes part in the attention, but has no
    place in the map and is left out of it.

    Args:
        img_size (tuple[int, int]): Height and width of the images. Defaults to (32, 128).
        patch_size (int or tuple[int, int]): Height and width of a patch. Defaults to 4.
        embed_dim (int): Channels C. Defaults to 384.
        depth (int): Layers. Defaults to 12.
        num_heads (int): Attention heads. Defaults to 6.
        init_cfg (dict or list[dict], optional): Initialization config, such as
            ``dict(type='Pretrained', checkpoint=...)``. Defaults to None: timm's initialization.
        **kwargs: Other arguments of ``VisionTransformer``, such as ``drop_path_rate``.
    """

    def __init__(
        self,
        img_size: tuple[int, int] = (32, 128),
        patch_size: int | tuple[int, int] = 4,
        embed_dim: int = 384,
        depth: int = 12,
        num_heads: int = 6,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            img_size=(img_size[0], img_size[1]),  # a config may give a list
            patch_size=patch_size,
            embed_dim=embed_dim,
            depth=depth,
            num_heads=num_heads,
            num_classes=0,
            global_pool="",
            **kwargs,
        )
        self.init_cfg = copy.deepcopy(init_cfg)

    def init_weights(self, mode: str = "", needs_reset: bool = True) -> None:
        """Initialize as timm does, then by ``init_cfg``."""
        VisionTransformer.init_weights(self, mode, needs_reset)
        if self.init_cfg:  # not yet when timm's constructor calls this
            BaseModule.init_weights(self)

    def forward(
        self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        """Turn images (N, 3, H, W) into a map of patches (N, C, H', W')."""
        patches = self.forward_features(x, attn_mask, is_causal)[:, self.num_prefix_tokens :]
        return patches.transpose(1, 2).unflatten(2, self.patch_embed.grid_size)
