# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
from pathlib import Path

from PIL import Image

from tests.builders import write_store

TOOL = Path(__file__).parents[2] / "tools" / "visualize_typeset.py"


def run(*arguments: str | Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-W", "ignore", str(TOOL), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_words_of_a_store_are_drawn_in_degrees(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", ["dog", "c4ts"], spelling="characters")
    out = tmp_path / "pictures" / "typeset.png"
    result = run(store, "dog", "c4ts", "--out", out, "--shape", "4", "16")
    assert result.returncode == 0, result.stderr
    pixels = Image.open(out).convert("RGB")
    assert pixels.width > 2 * pixels.height
    assert len(set(pixels.getdata())) > 100
    result = run(store, "dog", "cow", "--out", out)
    assert result.returncode == 1
    assert "does not hold ['cow']" in result.stderr
