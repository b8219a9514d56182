# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Decoders."""

from .stateful_sar_decoder import StatefulSARDecoder

__all__ = ["StatefulSARDecoder"]
