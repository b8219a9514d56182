# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""open_clip's own vision transformer."""

from collections.abc import Sequence

from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from .image_tower import ImageTower


class PlainTower(ImageTower):
    """The vision transformer of CLIP, OpenCLIP, MetaCLIP and others.

    Args:
        module (open_clip.transformer.VisionTransformer): The transformer.
    """

    num_prefix_tokens = 1

    def __init__(self, module: VisionTransformer) -> None:
        super().__init__(module)
        self.patch_size = module.patch_size
        self.grid_size = module.grid_size

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """Sequence[nn.Module]: The blocks."""
        return self.module.transformer.resblocks

    @property
    def embedding(self) -> tuple[nn.Module | nn.Parameter, ...]:
        """tuple: Patches, class token, positions and the normalization of all."""
        module = self.module
        return module.class_embedding, module.positional_embedding, module.conv1, module.ln_pre

    def __call__(self, images: Tensor) -> Tensor:
        """Compute the features of all tokens, class token first, after ``ln_post``."""
        module = self.module
        states = module.ln_post(module.transformer(module._embeds(images)))
        return states if module.proj is None else states @ module.proj

    def keep_tokens_only(self, with_projection: bool) -> None:
        """Take out the projection, if it is not to stay."""
        if not with_projection:
            self.module.proj = None
