# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""SAR's sequential decoder with the memory of its LSTM."""

from typing import Any

from mmocr.models.textrecog.decoders import SequentialSARDecoder
from mmocr.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class StatefulSARDecoder(SequentialSARDecoder):
    """MMOCR's sequential SAR decoder, but its LSTM cells keep their cell state.

    MMOCR 1.0.1 hands the hidden state of each cell on in the place of its cell state, so that from
    one character to the next the LSTM forgets what it is there to remember (SAR, arXiv 1811.00751,
    section 3.2). Parameters and arguments are MMOCR's own; with ``dec_gru`` there is no cell state
    and nothing changes. Weights that were trained with MMOCR's class have adapted to its way: go
    on using them with that.
    """

    def _2d_attention(
        self,
        y_prev: Tensor,
        feat: Tensor,
        holistic_feat: Tensor,
        hx1: Tensor,
        cx1: Tensor,
        hx2: Tensor,
        cx2: Tensor,
        **kwargs: Any,
    ) -> tuple[Tensor, ...]:
        """Decode one character; as in MMOCR, but the cell states are returned as such."""
        states = (hx1, cx1, hx2, cx2)
        y, new_hx1, _, new_hx2, _ = super()._2d_attention(
            y_prev, feat, holistic_feat, *states, **kwargs
        )
        if self.dec_gru:
            return y, new_hx1, new_hx1, new_hx2, new_hx2
        # The two cells run again: little beside the attention over the map.
        _, new_cx1 = self.rnn_decoder_layer1(y_prev, (hx1, cx1))
        _, new_cx2 = self.rnn_decoder_layer2(new_hx1, (hx2, cx2))
        return y, new_hx1, new_cx1, new_hx2, new_cx2
