# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""MMOCR's own tools/test.py, with mmdptr imported before it; the same arguments.

`mim test mmdptr <config>` runs this file.
"""

import runpy
from pathlib import Path

import mmdptr  # noqa: F401  (registers our components, makes MMOCR importable)
import mmocr

runpy.run_path(str(Path(mmocr.__file__).parent / ".mim" / "tools" / "test.py"), run_name="__main__")
