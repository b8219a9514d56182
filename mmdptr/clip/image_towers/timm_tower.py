# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Vision transformers of timm."""

from collections.abc import Sequence

from open_clip.timm_model import TimmModel
from torch import Tensor, nn

from .image_tower import ImageTower


class TimmTower(ImageTower):
    """The vision transformer of SigLIP, SigLIP 2, EVA, PE, MobileCLIP-B and others.

    Models whose pooled feature is made by attention (SigLIP, PE) project nothing else but that;
    the features of their tokens are those that this attention reads.

    Args:
        module (open_clip.timm_model.TimmModel): The transformer, ``trunk``, and its ``head``.
    """

    def __init__(self, module: TimmModel) -> None:
        super().__init__(module)
        trunk, (height, width) = module.trunk, module.image_size
        # A pool of the trunk's own has its head with it; tokens in front of it have none.
        self.pools_by_attention = trunk.attn_pool is not None
        if trunk.patch_embed.img_size != (height, width):
            # open_clip knows the size that was asked for, and the trunk that of its name.
            trunk.set_input_size(img_size=(height, width))
        self.grid_size = trunk.patch_embed.grid_size
        self.patch_size = (height // self.grid_size[0], width // self.grid_size[1])
        self.num_prefix_tokens = trunk.num_prefix_tokens

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """Sequence[nn.Module]: The blocks."""
        return self.module.trunk.blocks

    @property
    def embedding(self) -> tuple[nn.Module | nn.Parameter, ...]:
        """tuple: Patches, class token, positions and the normalization of all."""
        trunk = self.module.trunk
        parts = (trunk.patch_embed, trunk.cls_token, trunk.reg_token, trunk.pos_embed)
        return tuple(part for part in (*parts, trunk.norm_pre) if part is not None)

    def __call__(self, images: Tensor) -> Tensor:
        """Compute the features of all tokens, after the trunk's last normalization."""
        trunk = self.module.trunk
        states = trunk.forward_features(images)
        if not self.pools_by_attention:
            states = trunk.head(trunk.fc_norm(states))
        return self.module.head(states)

    def keep_tokens_only(self, with_projection: bool) -> None:
        """Take out pooling, and the projection, the trunk's or that behind it, unless it stays."""
        trunk = self.module.trunk
        if self.pools_by_attention:
            trunk.attn_pool = None
            trunk.fc_norm = trunk.head = nn.Identity()
        if not with_projection:
            self.module.head = trunk.head = nn.Identity()
