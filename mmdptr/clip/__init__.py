# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""CLIP as a source of features; the only place that knows open_clip."""

from .characters import merge_characters, tokenize_label
from .image_encoder import CLIPImageEncoder
from .loading import CLIPIdentity, LoadedCLIP, load_clip
from .prompt import Prompt
from .text_encoder import CLIPTextEncoder, TextFeatures

__all__ = [
    "CLIPIdentity",
    "CLIPImageEncoder",
    "CLIPTextEncoder",
    "LoadedCLIP",
    "Prompt",
    "TextFeatures",
    "load_clip",
    "merge_characters",
    "tokenize_label",
]
