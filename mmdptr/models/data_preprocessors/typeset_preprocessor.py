# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""From text embeddings to maps that look like those of images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseDataPreprocessor
from mmocr.registry import MODELS
from torch import Tensor

from mmdptr.models.annotation import annotate
from mmdptr.writing import graphemes, visual_order

from .padded_rows import padded_rows
from .slot_mixing import mix_slots
from .strokes import split_into_strokes
from .typesetting import blur, log_uniform, typeset


@MODELS.register_module()
class TypesetPreprocessor(BaseDataPreprocessor):
    """Sets the characters' text embeddings in the places where their image would show them.

    The paper's memory has a slot a character, which an image becomes only behind a trained encoder
    and FMU. Here each label is a map as a backbone makes of images: characters several columns
    wide, of random widths, with gaps and margins, smeared and noisy; Arabic and Hebrew run from
    right to left. Encoder, FMU and decoder learn on such maps what is left to do once a backbone
    sees.

    Legibility is random: from clear to that of an untrained backbone, where only the language is
    left to go by. What has learnt on clear maps alone makes nothing of a backbone that has just
    begun to see, and tells it nothing.

    Args:
        shape (tuple[int, int]): Rows H and columns W of the map.
        character_width (float, optional): Columns that a character takes on average, where images
            keep their shape and are padded, see :func:`typeset`. Defaults to None: they fill the
            width.
        noise (float): Strongest Gaussian noise, in root mean squares of the features. Defaults to
            30: of 256 channels, two characters are then further apart in noise than in fact.
        blur (float): Widest smear, as part of W. Defaults to 0.25.
        strokes (int): Parts of a character, one below another, that look alike in many characters;
            see :func:`split_into_strokes`. For maps of several rows whose encoder has to put
            letters together, because the stem before it is shallow. Defaults to 1: every cell that
            a character covers shows it as a whole.
        non_blocking (bool): Whether to copy to the device without waiting. Defaults to False.

    Raises:
        ValueError: There are more strokes than rows.
    """

    def __init__(
        self,
        shape: Sequence[int],
        character_width: float | None = None,
        noise: float = 30.0,
        blur: float = 0.25,
        strokes: int = 1,
        non_blocking: bool = False,
    ) -> None:
        super().__init__(non_blocking=non_blocking)
        if not 1 <= strokes <= shape[0]:
            raise ValueError(
                f"Found strokes={strokes} for maps of {shape[0]} rows, expected 1 to {shape[0]}: "
                "strokes that share a row cannot be told apart. Lower it, or leave it out."
            )
        self.shape = (shape[0], shape[1])
        self.character_width = character_width
        self.noise = noise
        self.blur = blur
        self.strokes = strokes

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Collate a batch.

        Args:
            data (dict): ``inputs``, a list of N memories (L_i, D) or one tensor of them all from
                :func:`concat_collate`: the pooled feature, one slot a character, and what follows.
                ``data_samples`` with their labels and ``token_ids``.
            training (bool): Whether the batch is for training. Otherwise maps are regular, clear
                and the same each time.

        Returns:
            dict: ``inputs`` of shape (N, H * W, D), row by row, and ``data_samples`` with
            ``valid_ratio`` set.

        Raises:
            ValueError: A memory has fewer slots than its label has characters.
        """
        samples = data["data_samples"]
        memories = self.cast_data(data["inputs"])
        sizes = [sample.memory_length for sample in samples]
        if not isinstance(memories, Tensor):
            sizes, memories = [len(memory) for memory in memories], torch.cat(memories)
        device = memories.device
        texts = [graphemes(sample.gt_text.item) for sample in samples]
        for text, size in zip(texts, sizes, strict=True):
            if size <= len(text):
                raise ValueError(
                    f"The memory of {''.join(text)!r} has {size} slots, fewer than its characters. "
                    "Extract the text embeddings with --spelling characters."
                )
        # Behind the pooled feature stand the characters; from left to right, as they are seen.
        starts = np.cumsum([0, *sizes[:-1]]) + 1
        rows = [i + visual_order(text) for i, text in zip(starts, texts, strict=True)]
        index = torch.from_numpy(np.concatenate(rows))
        if training:
            token_ids = np.concatenate([sample.token_ids for sample in samples])[index]
            # Where a character stands is for its place to say, not for its features.
            slots = torch.zeros(len(index), dtype=torch.long)
            index = index[mix_slots(torch.from_numpy(token_ids).long(), slots)]
        characters = memories[index.to(device, non_blocking=True)]
        lengths = torch.tensor([len(text) for text in texts])
        # Shorter words are filled up with their last character, which covers nothing there.
        places = padded_rows(lengths, int(lengths.max()))
        words = split_into_strokes(characters, self.strokes)[places.to(device, non_blocking=True)]
        cover, ratios = typeset(
            lengths.to(device), self.shape, training, self.character_width, self.strokes
        )
        maps = cover.to(words) @ words.flatten(1, 2)
        if training:
            maps = self._degrade(maps, characters.square().mean().sqrt())
        annotated = [
            annotate(sample, valid_ratio=ratio)
            for sample, ratio in zip(samples, ratios.tolist(), strict=True)
        ]
        return {"inputs": maps, "data_samples": annotated}

    def _degrade(self, maps: Tensor, scale: Tensor) -> Tensor:
        if self.blur:
            spread = log_uniform(len(maps), self.blur * self.shape[1], maps.device)
            maps = blur(maps, self.shape, spread)
        if self.noise:
            strength = scale * log_uniform(len(maps), self.noise, maps.device).to(maps)
            maps = maps + strength[:, None, None] * torch.randn_like(maps)
        return maps
