# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The loss of a permutation language model."""

from collections.abc import Sequence
from typing import Any

import torch
from mmocr.models.textrecog.module_losses import CEModuleLoss
from mmocr.registry import MODELS
from mmocr.structures import TextRecogDataSample
from torch import Tensor
from torch.nn import functional as F

from .targets import select, write_targets


@MODELS.register_module()
class PARSeqLoss(CEModuleLoss):
    """Cross-entropy over the characters under all orders, and over the end under some.

    As in PARSeq (arXiv 2207.06966, section 3.3, and its code): the end counts under the first two
    orders only, from left to right and its mirror image. Targets are MMOCR's, which cuts labels
    that are too long; such a label has no end.

    Args:
        num_orders_with_end (int): Orders under which the end counts. Defaults to 2.
        **kwargs: Arguments of ``CEModuleLoss``; ``ignore_char`` and ``reduction`` have no effect.
    """

    def __init__(self, num_orders_with_end: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_orders_with_end = num_orders_with_end

    def get_targets(
        self, data_samples: Sequence[TextRecogDataSample]
    ) -> Sequence[TextRecogDataSample]:
        """Generate targets as MMOCR does."""
        texts = [sample.gt_text.item for sample in data_samples]
        if self.letter_case != "unchanged":
            texts = [getattr(text, self.letter_case)() for text in texts]
        indexes = [self.dictionary.str2idx(text) for text in texts]
        write_targets(data_samples, indexes, self.dictionary, self.pad_idx, self.max_seq_len)
        return data_samples

    def forward(
        self, outputs: Tensor, data_samples: Sequence[TextRecogDataSample]
    ) -> dict[str, Tensor]:
        """Calculate the loss.

        Args:
            outputs (Tensor): Logits of shape (K, N, t, M) with K orders, N labels, t places and M
                classes.
            data_samples (list[TextRecogDataSample]): Samples with targets.

        Returns:
            dict[str, Tensor]: ``loss_ce``, the mean over all targets of all orders.
        """
        orders, _, size, _ = outputs.shape
        texts = torch.stack([x.gt_text.padded_indexes for x in data_samples])
        lengths = torch.tensor([len(x.gt_text.indexes) for x in data_samples])
        # Where orders have the end, it is the last target; a label that was cut has none.
        with_end = torch.arange(orders)[:, None, None] < self.num_orders_with_end
        counts = torch.arange(size) < lengths[:, None] + with_end.long()
        targets = texts[:, 1 : size + 1].expand(orders, -1, -1)
        logits, targets = select(counts, outputs, targets)
        return {"loss_ce": F.cross_entropy(logits.float(), targets)}
