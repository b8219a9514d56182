# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""SAR's parallel decoder that reads one character a step."""

from collections.abc import Sequence

import torch
from mmocr.models.textrecog.decoders import ParallelSARDecoder
from mmocr.registry import MODELS
from mmocr.structures import TextRecogDataSample
from torch import Tensor

from mmdptr.models.necks.fmu import padding_mask

from .greedy_decoding import decode_greedily, end_tokens, fill_steps


@MODELS.register_module()
class CachedParallelSARDecoder(ParallelSARDecoder):
    """MMOCR's parallel SAR decoder that reads the same text in a fraction of the time.

    MMOCR 1.0.1 runs the LSTM and the attention over all positions for each character. Here a step
    goes on from the LSTM's state, the keys of the feature map are computed once, and decoding stops
    when all samples of a batch have ended. Arguments, parameters and training are MMOCR's own, so
    weights of either class serve both. With ``dec_bi_rnn`` the LSTM reads positions that are yet to
    come, which is left to MMOCR.

    Shapes: N samples, H x W places of the feature map, T steps (``max_seq_len``), K classes, C
    channels of the map, E channels of the holistic feature.
    """

    def forward_test(
        self,
        feat: Tensor,
        out_enc: Tensor,
        data_samples: Sequence[TextRecogDataSample] | None = None,
    ) -> Tensor:
        """Decode greedily.

        Args:
            feat (Tensor): Feature map of shape (N, C, H, W).
            out_enc (Tensor): Holistic feature of shape (N, E).
            data_samples (Sequence[TextRecogDataSample], optional): Their ``valid_ratio`` says which
                part of the width is not padding. Defaults to None.

        Returns:
            Tensor: Probabilities of shape (N, T, K). Steps after the last sample's end are padding.
        """
        if self.rnn_decoder.bidirectional:
            return super().forward_test(feat, out_enc, data_samples)
        keys = self.conv3x3_1(feat)
        places = feat.flatten(2)
        mask = None
        if self.mask and data_samples is not None:
            valid_ratios = [sample.get("valid_ratio", 1.0) for sample in data_samples]
            height, width = feat.shape[2:]
            mask = padding_mask((height, width), valid_ratios, feat.device)
        _, state = self.rnn_decoder(out_enc[:, None])

        def next_logits(tokens: Tensor, step: int) -> Tensor:
            nonlocal state
            hidden, state = self.rnn_decoder(self.embedding(tokens[:, None]), state)
            query = self.conv1x1_1(hidden[:, 0])[:, :, None, None]
            scores = self.conv1x1_2(torch.tanh(keys + query).flatten(2).transpose(1, 2))[..., 0]
            if mask is not None:
                scores = scores.masked_fill(mask, float("-inf"))
            glimpse = torch.einsum("ncp,np->nc", places, scores.softmax(dim=1))
            if self.pred_concat:
                glimpse = torch.cat([hidden[:, 0], glimpse, out_enc], dim=1)
            return self.prediction(glimpse)

        start = torch.full((len(feat),), self.start_idx, device=feat.device)
        logits = decode_greedily(next_logits, start, self.max_seq_len, end_tokens(self))
        return fill_steps(self.softmax(logits), self.max_seq_len, self.dictionary)
