# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess
import sys
from pathlib import Path

from tests.builders import squeeze

BENCHMARKS = Path(__file__).parents[2] / "tools" / "benchmarks"


def test_kills_change_no_byte(tmp_path: Path) -> None:
    options = ["--kills", "3", "--labels", "60", "--shard-size", "5", "--json", "kills.json"]
    result = subprocess.run(
        [sys.executable, "-W", "ignore", str(BENCHMARKS / "kills.py"), *options],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    (row,) = json.loads((tmp_path / "kills.json").read_text())["rows"]
    assert (row["kills"], row["same_bytes"], row["shards"]) == (3, 3, 12)
    assert row["safe_but_encoded_again"] == 0
    assert row["most_lost"] <= 2
    assert squeeze(result.stdout).splitlines()[-1].startswith("| 1 | 3 | 3 |")
