# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""CLIP's image tower as a backbone."""

from typing import Any

from mmocr.registry import MODELS
from torch import Tensor, nn

from mmdptr.clip.image_towers import build_image_tower
from mmdptr.clip.loading import LoadedCLIP
from mmdptr.models.clip_tower import CLIPTower


@MODELS.register_module()
class CLIPVisionBackbone(CLIPTower):
    """The vision transformer of a CLIP of open_clip, which learns on.

    The recognizer's ``data_preprocessor`` must normalize as CLIP does:
    :file:`configs/_base_/clip_images.py`.

    For learning rates that fall with the depth, name ``resblocks.0.`` (of timm's transformers
    ``blocks.0.``) and so on in MMEngine's ``paramwise_cfg``.

    Args:
        model (str): A model of open_clip. Defaults to ``'ViT-B-16-quickgelu'``.
        pretrained (str, optional): Weights, as :func:`mmdptr.clip.load_clip` takes them. Defaults
            to None: its choice.
        image_size (tuple[int, int]): Height and width of the images. Position embeddings are
            interpolated where CLIP saw others. Defaults to (224, 224).
        with_projection (bool): Whether features are projected to CLIP's joint space, which narrows
            them (ViT-B/16: 768 to 512). Defaults to True.
        class_token (bool): Whether the output is the sequence of all tokens, the class token first,
            instead of the map of patches. Defaults to False.
        frozen_stages (int): Blocks that do not learn, and the embedding before them; 0 freezes the
            embedding alone, -1 nothing. Defaults to -1.
        checkpointing (bool): Whether to compute blocks anew in the backward pass, which takes less
            memory and more time. Defaults to False.
        cache_dir (str, optional): Where open_clip keeps downloads. Defaults to its own choice.
        init_cfg (dict or list[dict], optional): Initialization config, instead of CLIP's weights.
            Defaults to None.

    Raises:
        ValueError: Unknown model; it has another image tower; images are not a multiple of patches
            in size; or there are fewer blocks than frozen ones.
    """

    def __init__(
        self,
        model: str = "ViT-B-16-quickgelu",
        pretrained: str | None = None,
        image_size: tuple[int, int] = (224, 224),
        with_projection: bool = True,
        class_token: bool = False,
        frozen_stages: int = -1,
        checkpointing: bool = False,
        cache_dir: str | None = None,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        size = (image_size[0], image_size[1])  # a config may give a list
        super().__init__(model, pretrained, cache_dir, init_cfg, image_size=size)
        self.class_token = class_token
        self.reader = build_image_tower(self.tower, model)  # no module: its weights are the tower's
        height, width = self.reader.patch_size
        if size[0] % height or size[1] % width:
            raise ValueError(
                f"CLIPVisionBackbone: images of {size} do not divide into the patches of "
                f"{model!r}, {height}x{width}. Set image_size to multiples."
            )
        self.reader.keep_tokens_only(with_projection)
        self.tower.set_grad_checkpointing(checkpointing)
        self.freeze(frozen_stages, self.reader.embedding, self.reader.blocks)

    def find_tower(self, clip: LoadedCLIP) -> nn.Module:
        """Return the image tower of a CLIP."""
        return build_image_tower(clip.model.visual, self.model).module

    def forward(self, x: Tensor) -> Tensor:
        """Compute features of images.

        Args:
            x (Tensor): Of shape (N, 3, H, W).

        Returns:
            Tensor: Map of patches (N, C, H', W'), or with ``class_token`` tokens (N, T, C).
        """
        tokens = self.reader(x)
        if self.class_token:
            return tokens
        patches = tokens[:, self.reader.num_prefix_tokens :]
        return patches.transpose(1, 2).unflatten(2, self.reader.grid_size)
