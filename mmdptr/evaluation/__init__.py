# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Metrics."""

from .seen_word_metric import SeenWordMetric

__all__ = ["SeenWordMetric"]
