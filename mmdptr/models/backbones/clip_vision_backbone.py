# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""CLIP's image tower as a backbone."""

from typing import Any

from mmengine.model import BaseModule
from mmocr.registry import MODELS
from torch import Tensor

from mmdptr.clip.image_encoder import plain_vision_transformer, token_features
from mmdptr.clip.loading import RANDOM, load_clip


@MODELS.register_module()
class CLIPVisionBackbone(BaseModule):
    """The vision transformer of a CLIP of open_clip, which learns on.

    Building makes random weights of the right sizes; CLIP's own are loaded by ``init_weights``, so
    before training and not where a checkpoint brings all weights anyway. The recognizer's
    ``data_preprocessor`` must normalize as CLIP does: :file:`configs/_base_/clip_images.py`.

    For learning rates that fall with the depth, name ``resblocks.0.`` and so on in MMEngine's
    ``paramwise_cfg``.

    Args:
        model (str): A model of open_clip. Defaults to ``'ViT-B-16-quickgelu'``.
        pretrained (str): A pretrained tag of open_clip, a local weights file, or ``'random'``.
            Defaults to ``'openai'``.
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
        init_cfg (dict or list[dict], optional): Initialization config; goes before CLIP's weights.
            Defaults to None.

    Raises:
        ValueError: Unknown model; it has another image tower; images are not a multiple of patches
            in size; or there are fewer blocks than frozen ones.
    """

    def __init__(
        self,
        model: str = "ViT-B-16-quickgelu",
        pretrained: str = "openai",
        image_size: tuple[int, int] = (224, 224),
        with_projection: bool = True,
        class_token: bool = False,
        frozen_stages: int = -1,
        checkpointing: bool = False,
        cache_dir: str | None = None,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.model = model
        self.pretrained = pretrained
        self.image_size = (image_size[0], image_size[1])  # a config may give a list
        self.with_projection = with_projection
        self.class_token = class_token
        self.cache_dir = cache_dir
        clip = load_clip(model, RANDOM, image_size=self.image_size)
        self.visual = plain_vision_transformer(clip).requires_grad_().train()
        height, width = self.visual.patch_size
        if self.image_size[0] % height or self.image_size[1] % width:
            raise ValueError(
                f"CLIPVisionBackbone: images of {self.image_size} do not divide into the patches "
                f"of {model!r}, {height}x{width}. Set image_size to multiples."
            )
        if not with_projection:
            self.visual.proj = None
        self.visual.set_grad_checkpointing(checkpointing)
        self._freeze(frozen_stages)

    def _freeze(self, stages: int) -> None:
        blocks = self.visual.transformer.resblocks
        if stages > len(blocks):
            raise ValueError(
                f"CLIPVisionBackbone: frozen_stages is {stages}, but {self.model!r} has "
                f"{len(blocks)} blocks."
            )
        if stages < 0:
            return
        self.visual.class_embedding.requires_grad_(False)
        self.visual.positional_embedding.requires_grad_(False)
        for module in (self.visual.conv1, self.visual.ln_pre, *blocks[:stages]):
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
                self.model, self.pretrained, cache_dir=self.cache_dir, image_size=self.image_size
            )
            weights = plain_vision_transformer(clip).state_dict()
            if not self.with_projection:
                weights.pop("proj", None)
            self.visual.load_state_dict(weights)

    def forward(self, x: Tensor) -> Tensor:
        """Compute features of images.

        Args:
            x (Tensor): Of shape (N, 3, H, W).

        Returns:
            Tensor: Map of patches (N, C, H', W'), or with ``class_token`` tokens (N, T, C).
        """
        tokens = token_features(self.visual, x, self.with_projection)
        if self.class_token:
            return tokens
        return tokens[:, 1:].transpose(1, 2).unflatten(2, self.visual.grid_size)
