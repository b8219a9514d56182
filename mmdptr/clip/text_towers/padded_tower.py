# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Text transformers in which all tokens of the context may see one another."""

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from mmdptr.clip.loading import LoadedCLIP

from .causal_tower import project_text
from .text_tower import TextTower


class PaddedTower(TextTower):
    """Any text transformer of open_clip, run on the whole context, by open_clip itself.

    SigLIP's towers and others see their padding, and pool at its end; so nothing can be left out.

    Args:
        clip (LoadedCLIP): The CLIP.
        pad_id (int): What the tokenizer puts behind a sentence.

    Raises:
        ValueError: Its text tower is none of open_clip's transformers.
    """

    def __init__(self, clip: LoadedCLIP, pad_id: int) -> None:
        # CLIP keeps its text tower in itself, CustomTextCLIP in `.text`.
        self.tower: Any = getattr(clip.model, "text", clip.model)
        if not hasattr(self.tower, "ln_final") or not hasattr(clip.model, "forward_intermediates"):
            raise ValueError(
                f"The text tower of {clip.identity.model!r} ({type(self.tower).__name__}) is not "
                "known here. Use a CLIP whose text tower is a transformer of open_clip or of "
                "Hugging Face's transformers."
            )
        super().__init__(clip, self.tower.ln_final.weight.numel())
        self.pad_id = pad_id

    def __call__(self, ids: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Run whole contexts; see :class:`TextTower`."""
        length = ids.shape[1]
        padded = F.pad(ids, (0, self.tower.context_length - length), value=self.pad_id)
        model: Any = self.clip.model
        found = model.forward_intermediates(
            text=padded,
            text_indices=1,
            normalize=False,
            normalize_intermediates=True,
            text_output_fmt="NLC",
        )
        return found["text_intermediates"][-1][:, start:length], found["text_features"]

    def project(self, x: Tensor) -> Tensor:
        """Project token features to the joint space; see :class:`TextTower`."""
        return project_text(self.tower, x)
