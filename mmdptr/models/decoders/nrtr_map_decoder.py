# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""NRTR's decoder for encoders and backbones that give a map."""

from collections.abc import Sequence

from mmocr.registry import MODELS
from mmocr.structures import TextRecogDataSample
from torch import Tensor

from .cached_nrtr_decoder import CachedNRTRDecoder


@MODELS.register_module()
class NRTRMapDecoder(CachedNRTRDecoder):
    """NRTR's decoder, reading ``out_enc``, or ``feat`` where there is no encoder, also as a map.

    MMOCR's decoder reads a sequence from an encoder only. This one stands behind SVTR's encoder,
    whose output is a map, and behind a ViT backbone without an encoder, as in MAERec
    (arXiv 2307.08723). Maps are read column by column, so that the end of the sequence, which is
    masked by ``valid_ratio``, is the padded columns. Parameters are those of ``NRTRDecoder``.
    """

    def forward_train(
        self,
        feat: Tensor | None = None,
        out_enc: Tensor | None = None,
        data_samples: Sequence[TextRecogDataSample] | None = None,
    ) -> Tensor:
        """Return logits (N, T, K) of teacher-forced targets; see :meth:`forward_test`."""
        return super().forward_train(None, _sequence(feat, out_enc), data_samples)

    def forward_test(
        self,
        feat: Tensor | None = None,
        out_enc: Tensor | None = None,
        data_samples: Sequence[TextRecogDataSample] | None = None,
    ) -> Tensor:
        """Decode greedily.

        Args:
            feat (Tensor, optional): Backbone output of shape (N, C, H, W) or (N, L, C).
            out_enc (Tensor, optional): Encoder output of one of these shapes; goes before ``feat``.
            data_samples (list[TextRecogDataSample], optional): With the ``valid_ratio`` of each.

        Returns:
            Tensor: Probabilities of shape (N, T, K) with T steps and K classes.

        Raises:
            ValueError: There is neither ``feat`` nor ``out_enc``.
        """
        return super().forward_test(None, _sequence(feat, out_enc), data_samples)


def _sequence(feat: Tensor | None, out_enc: Tensor | None) -> Tensor:
    memory = feat if out_enc is None else out_enc
    if memory is None:
        raise ValueError("NRTRMapDecoder has nothing to read: neither `feat` nor `out_enc`.")
    return memory if memory.dim() == 3 else memory.transpose(2, 3).flatten(2).transpose(1, 2)
