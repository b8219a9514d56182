# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""CLIP's image encoder as the source of ORP's noise."""

import torch
from PIL import Image
from torch import Tensor

from .image_towers import build_image_tower
from .loading import LoadedCLIP


class CLIPImageEncoder:
    """Computes all token features of images in CLIP's joint space.

    The DPTR paper (arXiv 2408.05706, ORP) perturbs text features with them: every token of the
    vision transformer (class token first, then patches) after the last normalization and the visual
    projection. In CLIP the class token's feature is what open_clip's ``encode_image`` returns.

    Args:
        clip (LoadedCLIP): The CLIP to use; its image tower must be a vision transformer of
            open_clip's or timm's.

    Raises:
        ValueError: The image tower is of another build.
    """

    def __init__(self, clip: LoadedCLIP) -> None:
        self.tower = build_image_tower(clip.model.visual, clip.identity.model)
        self.clip = clip

    def load(self, path: str) -> Tensor:
        """Read an image file with CLIP's own resize, centre crop and normalisation.

        Returns:
            Tensor: Of shape (3, H, W) with H, W the model's image size.

        Raises:
            OSError: The file is not an image, or broken.
        """
        try:
            with Image.open(path) as image:
                pixels = image.convert("RGB")
        except Exception as error:  # Pillow's plugins raise all sorts for broken files
            raise OSError(f"{path} is not an image, or broken: {error}") from error
        return self.clip.preprocess(pixels)

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Tensor:
        """Compute the token features of preprocessed images.

        Args:
            images (Tensor): Of shape (B, 3, H, W).

        Returns:
            Tensor: Of shape (B, T, C) with T tokens, patches last, of joint width C.
        """
        with self.clip.autocast():
            features = self.tower(images.to(self.clip.device, self.clip.dtype))
        return features.to(self.clip.dtype)
