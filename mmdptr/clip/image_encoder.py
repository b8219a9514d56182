# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""CLIP's image encoder as the source of ORP's noise."""

import torch
from open_clip.transformer import VisionTransformer
from PIL import Image
from torch import Tensor

from .loading import LoadedCLIP


class CLIPImageEncoder:
    """Computes all token features of images in CLIP's joint space.

    The DPTR paper (arXiv 2408.05706, ORP) perturbs text features with them: every token of the
    vision transformer (class token first, then patches) after ``ln_post`` and the visual
    projection. The class token's feature is what open_clip's ``encode_image`` returns.

    Args:
        clip (LoadedCLIP): The CLIP to use; its image tower must be open_clip's vision transformer.

    Raises:
        ValueError: The image tower is of another build.
    """

    def __init__(self, clip: LoadedCLIP) -> None:
        self.visual = plain_vision_transformer(clip)
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
            Tensor: Of shape (B, T, C) with T tokens, class token first, of joint width C.
        """
        with self.clip.autocast():
            features = token_features(self.visual, images.to(self.clip.device, self.clip.dtype))
        return features.to(self.clip.dtype)


def plain_vision_transformer(clip: LoadedCLIP) -> VisionTransformer:
    """Return the image tower of a CLIP.

    Raises:
        ValueError: It is not open_clip's plain vision transformer.
    """
    visual = clip.model.visual
    if not isinstance(visual, VisionTransformer) or visual.attn_pool is not None:
        raise ValueError(
            f"The image tower of {clip.identity.model!r} is a {type(visual).__name__}"
            f"{' with attention pooling' if hasattr(visual, 'attn_pool') else ''}; expected "
            "open_clip's plain VisionTransformer, as in 'ViT-B-16-quickgelu'."
        )
    return visual


def token_features(
    visual: VisionTransformer, images: Tensor, with_projection: bool = True
) -> Tensor:
    """Compute the features of all tokens, class token first, after ``ln_post``.

    Args:
        visual (open_clip.transformer.VisionTransformer): The image tower.
        images (Tensor): Preprocessed images of shape (B, 3, H, W).
        with_projection (bool): Whether to project them to the joint space, if the tower has a
            projection. Defaults to True.

    Returns:
        Tensor: Of shape (B, T, C) with T tokens.
    """
    states = visual.ln_post(visual.transformer(visual._embeds(images)))
    return states @ visual.proj if with_projection and visual.proj is not None else states
