# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The loss of decoder pre-training."""

from collections.abc import Sequence
from typing import Any

import torch
from mmocr.models.textrecog.module_losses import CEModuleLoss
from mmocr.registry import MODELS
from mmocr.structures import TextRecogDataSample
from torch import Tensor
from torch.nn import functional as F

from mmdptr.dictionaries import split_units

from .targets import select, write_targets


@MODELS.register_module()
class DPTRLoss(CEModuleLoss):
    """Cross-entropy over the characters and the end token, and nothing else.

    MMOCR's ``CEModuleLoss`` averages over padding too by default, so its value and its effective
    learning rate depend on how long words are and how long they may be. This one is the mean over
    real targets, which makes the value comparable across words, batches and decoders: ``exp`` of
    it is the perplexity a character. It takes the place of ``CEModuleLoss`` in a decoder's config
    and refuses what that one cuts or replaces in silence.

    Args:
        trim_targets (bool): Whether to pad targets to the longest label of the batch only, instead
            of to ``max_seq_len``. A decoder that is causal and takes targets of any length gives
            the same loss in half of the time. Defaults to False.
        **kwargs: Arguments of ``CEModuleLoss``; ``ignore_char`` and ``reduction`` have no effect.
    """

    def __init__(self, trim_targets: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.trim_targets = trim_targets
        self.classes = {unit: index for index, unit in enumerate(self.dictionary.dict)}

    def get_targets(
        self, data_samples: Sequence[TextRecogDataSample]
    ) -> Sequence[TextRecogDataSample]:
        """Generate targets as MMOCR does.

        Raises:
            ValueError: A label is too long for the decoder or holds a character that the
                dictionary lacks.
        """
        special = (self.dictionary.start_idx is not None) + (self.dictionary.end_idx is not None)
        indexes = []
        for sample in data_samples:
            text = sample.gt_text.item
            if self.letter_case != "unchanged":  # may change the length
                text = getattr(text, self.letter_case)()
            units = split_units(text, self.dictionary)
            if len(units) + special > self.max_seq_len:
                raise ValueError(
                    f"The label {text!r} has {len(units)} characters, the decoder has room for "
                    f"{self.max_seq_len - special} (max_seq_len {self.max_seq_len}). Drop longer "
                    "labels (--max-length when extracting) or raise the decoder's max_seq_len."
                )
            missing = sorted(set(units).difference(self.classes))
            if missing:
                raise ValueError(
                    f"The label {text!r} holds {missing}, which the dictionary lacks. Drop such "
                    "labels (--dictionary when extracting), or add the characters to it."
                )
            indexes.append([self.classes[unit] for unit in units])
        length = self.max_seq_len
        if self.trim_targets:
            length = max(map(len, indexes)) + special
        write_targets(data_samples, indexes, self.dictionary, self.pad_idx, length)
        return data_samples

    def forward(
        self, outputs: Tensor, data_samples: Sequence[TextRecogDataSample]
    ) -> dict[str, Tensor]:
        """Calculate the loss and the accuracy of teacher-forced characters.

        Args:
            outputs (Tensor): Logits of shape (N, T, K) with N labels, T steps and K classes.
            data_samples (list[TextRecogDataSample]): Samples with targets.

        Returns:
            dict[str, Tensor]: ``loss_ce``, and ``char_acc`` from 0 to 1, which is only logged.
        """
        targets = torch.stack([x.gt_text.padded_indexes for x in data_samples])
        lengths = torch.tensor([len(x.gt_text.indexes) for x in data_samples])
        lengths += self.dictionary.end_idx is not None
        if self.ignore_first_char:
            targets, outputs = targets[:, 1:], outputs[:, :-1]
        elif self.dictionary.start_idx is not None:
            lengths += 1
        real = torch.arange(targets.shape[1]) < lengths[:, None]
        logits, targets = select(real, outputs, targets)
        return {
            "loss_ce": F.cross_entropy(logits.float(), targets),
            "char_acc": (logits.argmax(dim=1) == targets).float().mean(),
        }
