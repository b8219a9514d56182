# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Stage 1 on typeset text: all of a recognizer but its backbone."""

import copy
from collections.abc import Sequence
from typing import Any

from mmocr.registry import MODELS
from mmocr.structures import TextRecogDataSample
from torch import Tensor, nn
from torch.nn import functional as F

from mmdptr.models.memory import find_memory_layout
from mmdptr.models.recognizers.dptr_recognizer import DPTRRecognizer

from .stage_1 import check_width, decoder_of_stage_1


@MODELS.register_module()
class TypesetPretrainer(DPTRRecognizer):
    """Trains what reads, and not what sees, on text that is set like the features of its image.

    The recognizer with a linear layer over text embeddings in the place of what sees: encoder, FMU
    and decoder are built from its own config and keep their names, so that any checkpoint loads
    into it. An FMU with layers of its own reads what stands before it; else the encoder between
    backbone and FMU is trained too. So is one that runs over what the FMU makes. Ours; the paper
    (arXiv 2408.05706) pre-trains the decoder alone, which :class:`DPTRPretrainer` does.

    Args:
        decoder (dict): The recognizer's decoder config. A ``CEModuleLoss`` in it becomes
            :class:`DPTRLoss`; decoders with losses of their own keep them.
        neck (dict): Its FMU config.
        feature_shape (Sequence[int]): What the text stands for: (C, H, W) for maps of C channels,
            (L, C) for sequences of L tokens; see :meth:`DPTRRecognizer.feature_shape`.
        embed_dims (int): Width D of the text embeddings. Defaults to 512, that of ViT-B/16.
        character_width (float, optional): Columns that a character takes on average, where images
            keep their shape and are padded, see :func:`typeset`. Defaults to None: they fill the
            width.
        data_preprocessor (dict, optional): Settings over those of a :class:`TypesetPreprocessor` of
            that grid. Defaults to None.
        **kwargs: Arguments of :class:`DPTRRecognizer`: ``encoder``, where it reads what the text
            stands for or what the FMU makes, ``memory``, ``with_position``.
    """

    def __init__(
        self,
        decoder: dict[str, Any],
        neck: dict[str, Any],
        feature_shape: Sequence[int],
        embed_dims: int = 512,
        character_width: float | None = None,
        data_preprocessor: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        is_map = len(feature_shape) == 3
        channels, *grid = feature_shape if is_map else (feature_shape[1], 1, feature_shape[0])
        layout = find_memory_layout(decoder, kwargs.get("memory"))
        data_preprocessor = {
            "type": "TypesetPreprocessor",
            "shape": grid,
            "character_width": character_width,
            **(data_preprocessor or {}),
        }
        super().__init__(
            decoder=decoder_of_stage_1(decoder, layout),
            neck=copy.deepcopy(neck),  # MMEngine's build takes the type out of what it is given
            data_preprocessor=data_preprocessor,
            **copy.deepcopy(kwargs),
        )
        self.embed_dims = embed_dims
        self.is_map = is_map
        self.grid = tuple(grid)
        self.projection = nn.Linear(embed_dims, channels)

    @property
    def parts(self) -> tuple[str, ...]:
        """tuple[str]: What a recognizer takes over."""
        return ("encoder", "neck", "decoder") if self.with_encoder else ("neck", "decoder")

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Project typeset text (N, H * W, D) to what the backbone gives, (N, C, H, W) or (N, L, C).

        Each has a root mean square of 1, the illegible like the clear. Backbones that have yet to
        see give no louder features than those that do, so loudness must not tell the two apart.

        Raises:
            ValueError: The embeddings have another width than ``embed_dims``.
        """
        check_width(inputs, self.embed_dims)
        features = self.projection(inputs)
        features = F.rms_norm(features, features.shape[1:])
        return features.transpose(1, 2).unflatten(2, self.grid) if self.is_map else features

    def _encode(
        self, feat: Tensor, data_samples: list[TextRecogDataSample] | None
    ) -> Tensor | None:
        """Without an encoder the text stands for what the encoder gives."""
        if not self.with_encoder and self.layout.site == "out_enc":
            return feat
        return super()._encode(feat, data_samples)
