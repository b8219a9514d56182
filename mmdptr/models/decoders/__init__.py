# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Decoders."""

from .cached_aster_decoder import CachedASTERDecoder
from .cached_master_decoder import CachedMasterDecoder
from .cached_nrtr_decoder import CachedNRTRDecoder
from .cached_parallel_sar_decoder import CachedParallelSARDecoder
from .nrtr_map_decoder import NRTRMapDecoder
from .parseq_decoder import PARSeqDecoder
from .stateful_sar_decoder import StatefulSARDecoder

__all__ = [
    "CachedASTERDecoder",
    "CachedMasterDecoder",
    "CachedNRTRDecoder",
    "CachedParallelSARDecoder",
    "NRTRMapDecoder",
    "PARSeqDecoder",
    "StatefulSARDecoder",
]
