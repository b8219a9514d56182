# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Dictionaries of scripts whose readers see more than one character as one."""

from .grapheme_dictionary import GraphemeDictionary, split_units

__all__ = ["GraphemeDictionary", "split_units"]
