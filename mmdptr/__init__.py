# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""DPTR: decoder pre-training with only text, for every recognizer of MMOCR."""

from . import compat

compat.apply()  # before anything imports MMOCR

from . import datasets, dictionaries, engine, evaluation, models  # noqa: E402

__version__ = "0.2.0"

__all__ = ["compat", "datasets", "dictionaries", "engine", "evaluation", "models"]
