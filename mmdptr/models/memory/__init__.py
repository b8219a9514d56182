# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The memory layouts: what pre-training and fine-tuning agree on."""

from .memory_layout import MemoryLayout, argument_of
from .registry import find_memory_layout, register_memory_layout

__all__ = ["MemoryLayout", "argument_of", "find_memory_layout", "register_memory_layout"]
