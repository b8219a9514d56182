# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The benchmark of extraction against corpus size: what it counts, skips and carries on."""

import importlib
import json
import mmap
import sys
import time
from argparse import Namespace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from mmdptr.clip import CLIPTextEncoder, load_clip
from mmdptr.datasets import LabelFilter
from mmdptr.embeddings import TextEmbeddingStore
from tests.builders import squeeze

sys.path.insert(0, str(Path(__file__).parents[2] / "tools" / "benchmarks"))
tool = importlib.import_module("extraction_scaling")

PHASES = ("tokenizing", "reading", "encoding", "whole")


def run(labels: int, microseconds: float = 100, **changes: float) -> dict[str, float]:
    times = {f"{phase}_{kind}_us": microseconds for phase in PHASES for kind in ("wall", "cpu")}
    sizes = {"start_mb": 500, "peak_mb": 600, "bytes_a_label": 826, "rows_a_label": 6}
    return {"labels": labels, **times, **sizes, **changes}


def first_words(number: int, seed: int = 0) -> list[str]:
    return list(islice(tool.pseudo_words(seed), number))


def test_words_are_different_and_of_a_seed() -> None:
    words = first_words(50_000)
    assert len(set(words)) == 50_000
    assert words[:1000] == first_words(1000)
    assert words[:1000] != first_words(1000, seed=1)
    assert list(LabelFilter()(words)) == words
    assert 8 < sum(map(len, words)) / len(words) < 9


def test_longer_words_come_when_short_ones_have_run_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "SYLLABLES", ["ba", "co"])
    words = first_words(500)
    assert len(set(words)) == 500
    assert {len(word) // 2 for word in words} == set(range(2, 9))


def test_peak_memory_is_found_though_it_was_freed() -> None:
    with tool.PeakMemory() as memory:
        # Fresh pages, whatever was allocated and freed before.
        held = mmap.mmap(-1, 80_000_000, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        held.write(b"x" * 80_000_000)
        begin = time.monotonic()
        while memory.peak_mb < memory.start_mb + 70 and time.monotonic() < begin + 30:
            time.sleep(0.01)
        held.close()
        time.sleep(5 * tool.SECONDS_A_SAMPLE)
    assert 70 < memory.peak_mb - memory.start_mb < 200
    assert tool.own_memory() < memory.peak_mb - 70


def test_a_run_measures_the_store(tmp_path: Path) -> None:
    found = tool.measure(tmp_path, 50, seed=0, shard_size=16, threads=1)
    store = TextEmbeddingStore(tmp_path / "store")
    assert store.labels() == first_words(50)
    rows = sum(len(rows) for rows, _ in store.memories(range(50)))
    assert found["rows_a_label"] == rows / 50
    size = sum(path.stat().st_size for path in (tmp_path / "store").iterdir())
    assert found["bytes_a_label"] == size / 50
    assert found["labels"] == 50
    for kind in ("wall", "cpu"):
        reading, encoding, whole = (found[f"{x}_{kind}_us"] for x in PHASES[1:])
        assert reading > 0
        assert encoding > 0
        assert reading + encoding == pytest.approx(whole)
    assert found["peak_mb"] >= found["start_mb"] > 0


def test_rows_are_medians_by_size() -> None:
    runs = [run(100, 1), run(100, 9), run(10, 5), run(100, 2), run(1000, 7)]
    rows = tool.summarize(runs, [100, 10])
    assert [row["labels"] for row in rows] == [10, 100]
    assert [row["whole_cpu_us"] for row in rows] == [5, 2]
    times = "5.0 (5.0) | 5.0 (5.0) | 5.0 (5.0)"
    assert f"| 10 | {times} | 200,000 | 500 | 600 | 0.826 |" in squeeze(tool.table(rows))


def test_picture_shows_medians_and_runs() -> None:
    runs = [run(10, 4), run(10, 6), run(100, 7), run(1000, 9)]
    cost, memory = tool.draw(runs, tool.summarize(runs, [10, 100])).axes
    wall, cpu, reading = cost.lines
    for line in (wall, cpu, reading):
        assert line.get_xydata().tolist() == [[10, 5], [100, 7]]
    assert cost.collections[0].get_offsets().tolist() == [[10, 4], [10, 6], [100, 7]]
    assert [line.get_ydata().tolist() for line in memory.lines] == [[600, 600], [500, 500]]
    assert {axis.get_xscale() for axis in (cost, memory)} == {"log"}
    assert {axis.get_ylim()[0] for axis in (cost, memory)} == {0}


def test_extrapolation() -> None:
    assumed = {"target": "mmdptr-tiny", "target_labels": 10**9, "tokens": 3.0, "gpus": 4}
    args = Namespace(**assumed, tflops=1e-3, gbit=8.0, write=1e-3)
    row = run(10, tokenizing_cpu_us=18, reading_cpu_us=3.6, encoding_cpu_us=36)
    lines = tool.extrapolate(row, args)
    # Three layers of 256; three tokens behind the prefix of seven see 8, 9 and 10.
    prefix = len(CLIPTextEncoder(load_clip("mmdptr-tiny", "random")).prefix_ids)
    flop = 3 * (24 * 256**2 * 3 + 4 * 256 * (3 * prefix + 6)) + 2 * 256**2
    one, four = flop / 1e9 * 1e9 / 3600, flop / 1e9 * 1e9 / 3600 / 4
    index = 826 - 6 * (2 * 64 + 4)
    half, quarter = 4 * (2 * 256 + 4) + index, 4 * (256 + 8) + index
    more = half - 826
    all_one, all_four = 1 + 10 + more / 3.6 + one, 1 + (10 + more / 3.6) / 4 + four
    assert lines == [
        ["reading and filtering, by the first process", "1.00 h", "1.00 h"],
        ["tokenizing, batching and writing", "10.00 h", "2.50 h"],
        ["- of which tokenizing, 55,556 labels/s a process", "5.00 h", "1.25 h"],
        ["writing 1.27 kB more at 0.001 GB/s a process", "353.33 h", "88.33 h"],
        [f"encoding, {flop / 1e9:.2f} GFLOP a label", f"{one:.2f} h", f"{four:.2f} h"],
        ["all of it, nothing at the same time", f"{all_one:.2f} h", f"{all_four:.2f} h"],
        [f"disk, float16, {half / 1e3:.2f} kB a label", *[f"{half:,} GB"] * 2],
        ["- copied at 8 Gbit/s", *[f"{half / 3600:.2f} h"] * 2],
        [f"disk, int8, {quarter / 1e3:.2f} kB a label", *[f"{quarter:,} GB"] * 2],
        ["- copied at 8 Gbit/s", *[f"{quarter / 3600:.2f} h"] * 2],
    ]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls the tool; all calls share one JSON file."""

    def call(*arguments: object) -> list[dict[str, Any]]:
        options = ["--json", tmp_path / "rows.json", "--target", "mmdptr-tiny", *arguments]
        monkeypatch.setattr(sys, "argv", ["extraction_scaling.py", *map(str, options)])
        tool.main()
        return json.loads((tmp_path / "rows.json").read_text())["rows"]

    return call


def test_command_line(call: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "scratch"
    folder.mkdir()
    options = ("--shard-size", 20, "--repeats", 1, "--folder", folder)
    (row,) = call("--sizes", 30, "--plot", tmp_path / "plot.png", *options)
    assert row["labels"] == 30
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert not list(folder.iterdir())
    printed = squeeze(capsys.readouterr().out)
    assert f"| {row['start_mb']:.0f} | {row['peak_mb']:.0f} |" in printed
    assert "| 100,000,000 labels of 4.5 tokens, mmdptr-tiny | 1 A100" in printed


def test_an_interrupted_benchmark_goes_on(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []

    def measure(number: int, args: Namespace) -> dict[str, float]:
        if number == 30 and 30 not in measured:
            measured.append(number)
            raise RuntimeError("killed")
        measured.append(number)
        return run(number)

    monkeypatch.setattr(tool, "measure_apart", measure)
    sizes = ("--sizes", 10, 20, 30)
    with pytest.raises(SystemExit, match="killed"):
        call(*sizes, "--repeats", 2)
    runs = call(*sizes, "--repeats", 2)
    assert sorted(x["labels"] for x in runs) == [10, 10, 20, 20, 30, 30]
    assert measured == [10, 20, 30, 30, 10, 20, 30]
    assert call(*sizes, "--repeats", 1) == runs
    assert len(measured) == 7


def test_runs_of_other_settings_are_refused(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "measure_apart", lambda number, args: run(number))
    call("--sizes", 10)
    with pytest.raises(SystemExit, match=r"'seed': 0.*expected.*'seed': 1.*Give another --json"):
        call("--sizes", 10, "--seed", 1)
