# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""MMOCR's own tools/test.py with mmdptr imported before it, and the same arguments.

``mim test mmdptr <config>`` runs this file.
"""

import runpy
from pathlib import Path

import mmocr

import mmdptr  # noqa: F401

if __name__ == "__main__":
    tool = Path(mmocr.__file__).parent / ".mim" / "tools" / "test.py"
    runpy.run_path(str(tool), run_name="__main__")
