# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Stage 1 of DPTR: a recognizer's own decoder, trained on text embeddings."""

from typing import Any

import torch
from mmocr.models.textrecog.recognizers import BaseRecognizer
from mmocr.registry import MODELS
from mmocr.structures import TextRecogDataSample
from torch import Tensor, nn

from mmdptr.models.memory import find_memory_layout
from mmdptr.models.position import sinusoids

from .slot_prior import SlotPrior
from .stage_1 import check_width, decoder_of_stage_1


@MODELS.register_module()
class DPTRPretrainer(BaseRecognizer):
    """Trains a decoder to spell labels from their CLIP text embeddings (arXiv 2408.05706).

    It has no image side. The decoder is built from the recognizer's own config, reads memory in
    the same layout as at fine-tuning, and has the same parameter names (``decoder.*``), so that
    any checkpoint of this model loads into the recognizer. How well it spells words that it has
    not seen, by MMOCR's ``WordMetric``, tells how stage 1 is doing.

    Args:
        decoder (dict): The recognizer's decoder config. A ``CEModuleLoss`` in it becomes
            :class:`DPTRLoss`; decoders with losses of their own keep them.
        encoder (dict, optional): The recognizer's encoder config, where the decoder reads what it
            makes of the memory (RobustScanner, SAR); it is trained with the decoder. Elsewhere it
            is left out. Defaults to None.
        embed_dims (int): Width D of the text embeddings. Where the decoder reads memory of another
            width, a linear layer projects. Defaults to 512, that of ViT-B/16.
        with_position (bool): Whether to add sinusoid positions to the slots of the memory. CLIP's
            own positions are faint in its features; with these a decoder finds its slot in a
            fraction of the time. At fine-tuning the FMU's queries bring them along, as part of the
            slot prior. The paper has none. Defaults to True.
        memory (str or dict, optional): Memory layout, for decoders that have none registered; see
            :func:`find_memory_layout`. Defaults to None.
        data_preprocessor (dict, optional): Defaults to a :class:`TextEmbeddingPreprocessor` that
            mixes slots and fills every memory up to as many tokens as the FMU's slots stand for.
        init_cfg (dict or list[dict], optional): Initialization config. Defaults to None.
    """

    def __init__(
        self,
        decoder: dict[str, Any],
        encoder: dict[str, Any] | None = None,
        embed_dims: int = 512,
        with_position: bool = True,
        memory: str | dict[str, Any] | None = None,
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        layout = find_memory_layout(decoder, memory)
        data_preprocessor = data_preprocessor or {
            "type": "TextEmbeddingPreprocessor",
            "num_slots": layout.tokens_of(decoder),
            "mix_slots": True,
        }
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.layout = layout
        width = self.layout.width_of(decoder)
        self.embed_dims = embed_dims
        self.with_position = with_position
        self.projection = nn.Identity() if embed_dims == width else nn.Linear(embed_dims, width)
        self.decoder = MODELS.build(decoder_of_stage_1(decoder, layout))
        self.encoder = MODELS.build(encoder) if encoder and layout.reads_encoder else None
        self.neck = SlotPrior(layout.slots_of(decoder), width)

    @property
    def parts(self) -> tuple[str, ...]:
        """tuple[str]: What a recognizer takes over, besides the slot prior."""
        return ("decoder",) if self.encoder is None else ("encoder", "decoder")

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Project text embeddings (N, L, D) to the decoder's width and number the slots.

        Returns:
            Tensor: Memory of shape (N, L * S, C), with S slots a token.

        Raises:
            ValueError: The embeddings have another width than ``embed_dims``.
        """
        check_width(inputs, self.embed_dims)
        memory = self.projection(inputs).repeat_interleave(self.layout.slots_per_token, dim=1)
        if self.with_position:
            _, slots, channels = memory.shape
            memory = memory + sinusoids(slots, channels, memory.device).to(memory)
        return memory

    def loss(
        self, inputs: Tensor, data_samples: list[TextRecogDataSample], **kwargs: Any
    ) -> dict[str, Tensor]:
        """Calculate the decoder's losses of text embeddings (N, L, D)."""
        memory = self.extract_feat(inputs)
        lengths = torch.tensor([x.memory_length for x in data_samples])
        self.neck.update(memory, lengths * self.layout.slots_per_token)
        return self.decoder.loss(**self._arrange(memory, data_samples), data_samples=data_samples)

    def predict(
        self, inputs: Tensor, data_samples: list[TextRecogDataSample], **kwargs: Any
    ) -> list[TextRecogDataSample]:
        """Spell the labels of text embeddings (N, L, D); results are in ``pred_text``."""
        memory = self._arrange(self.extract_feat(inputs), data_samples)
        return self.decoder.predict(**memory, data_samples=data_samples)

    def _forward(
        self,
        inputs: Tensor,
        data_samples: list[TextRecogDataSample] | None = None,
        **kwargs: Any,
    ) -> Tensor:
        memory = self._arrange(self.extract_feat(inputs), data_samples)
        return self.decoder(**memory, data_samples=data_samples)

    def _arrange(
        self, memory: Tensor, data_samples: list[TextRecogDataSample] | None
    ) -> dict[str, Tensor]:
        arranged = self.layout.arrange(memory)
        if self.encoder is not None:
            arranged["out_enc"] = self.encoder(arranged["feat"], data_samples)
        return arranged
