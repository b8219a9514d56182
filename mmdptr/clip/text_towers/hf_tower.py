# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Text towers of Hugging Face's transformers: XLM-RoBERTa, NLLB, mT5 and others."""

from typing import Any

from torch import Tensor

from mmdptr.clip.loading import LoadedCLIP

from .text_tower import TextTower


class HFTower(TextTower):
    """A bidirectional encoder whose padding is masked, so that it can be left out.

    Args:
        clip (LoadedCLIP): A CLIP whose text tower is open_clip's ``HFTextEncoder``.
    """

    sees_padding = False

    def __init__(self, clip: LoadedCLIP) -> None:
        model: Any = clip.model
        self.tower = model.text
        config: Any = self.tower.transformer.config
        super().__init__(clip, getattr(config, "hidden_size", None) or config.d_model)

    def __call__(self, ids: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Run sentences that see themselves; see :class:`TextTower`."""
        mask = (ids != self.tower.config.pad_token_id).long()
        found = self.tower.transformer(input_ids=ids, attention_mask=mask)
        pooled = self.tower.proj(self.tower.pooler(found, mask))
        return found.last_hidden_state[:, start:], pooled

    def project(self, x: Tensor) -> Tensor:
        """Project token features to the joint space; see :class:`TextTower`."""
        return self.tower.proj(x)
