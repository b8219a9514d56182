# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Encoders."""

from .clip_text_branch import CLIPTextBranch

__all__ = ["CLIPTextBranch"]
