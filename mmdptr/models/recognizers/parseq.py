# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""PARSeq."""

from mmocr.models.textrecog.recognizers import EncoderDecoderRecognizer
from mmocr.registry import MODELS


@MODELS.register_module()
class PARSeq(EncoderDecoderRecognizer):
    """Scene Text Recognition with Permuted Autoregressive Sequence Models (arXiv 2207.06966).

    A :class:`ViT` as backbone, no encoder, and a :class:`PARSeqDecoder`.
    """
