# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""DPTR: decoder pre-training with only text, for every recognizer of MMOCR."""

__version__ = "0.1.0"
