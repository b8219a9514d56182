# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Modules between encoder and decoder."""

from .fmu import FMU

__all__ = ["FMU"]
