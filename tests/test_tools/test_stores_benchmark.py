# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The benchmark of stores: every format returns the same, and the rows are what was measured."""

import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mmdptr.clip import CLIPTextEncoder, LoadedCLIP
from tests.builders import squeeze

sys.path.insert(0, str(Path(__file__).parents[2] / "tools" / "benchmarks"))
stores, formats = map(importlib.import_module, ("stores", "store_formats"))

LABELS = ["hello", "stop", "'s", "x" * 20, "日本語", "a b", "2024"]
WIDTH = 8
ORDER = [6, 0, 3, 3, 1, 5, 2, 4]  # from shard to shard, and one twice


@pytest.fixture(params=formats.FORMATS)
def name(request: pytest.FixtureRequest) -> str:
    if request.param == formats.ARROW:
        pytest.importorskip("pyarrow")
    return request.param


@pytest.fixture(scope="module")
def content() -> formats.Content:
    return formats.make_content(LABELS, 3, WIDTH)


def stop_at(shard: int) -> Callable[[int], None]:
    def stop(number: int) -> None:
        if number == shard:
            raise InterruptedError

    return stop


def test_tokens_are_those_of_the_encoder(content: formats.Content, tiny_clip: LoadedCLIP) -> None:
    expected = CLIPTextEncoder(tiny_clip).encode(LABELS)
    for name in ("lengths", "prefix_lengths", "token_ids"):
        found = [x for shard in content.shards for x in getattr(shard, name).tolist()]
        assert found == getattr(expected, name).tolist()


def test_memories_are_identical(name: str, content: formats.Content, tmp_path: Path) -> None:
    kind = formats.FORMATS[name]
    kind.build(tmp_path / "store", content)
    store = kind(tmp_path / "store")
    assert len(store) == len(LABELS)
    expected = content.memories()
    for index, (rows, ids) in zip(ORDER, store.memories(ORDER), strict=True):
        shard, place = content.shards[index // 3], index % 3
        assert rows.dtype == torch.float16
        assert rows.shape == (1 + shard.lengths[place], WIDTH)
        assert rows[0].tolist() == shard.pooled[place].tolist()
        assert ids[0] == formats.POOLED
        assert torch.equal(rows, expected[index][0])
        assert torch.equal(ids, expected[index][1])


def test_an_interrupted_build_is_noticed(
    name: str, content: formats.Content, tmp_path: Path
) -> None:
    candidate = stores.Candidate(name, tmp_path, content)
    with pytest.raises(InterruptedError):
        candidate.kind.build(candidate.folder, replace(content, watch=stop_at(2)))
    assert candidate.find_fault(candidate.folder).startswith("does not open")
    again: list[int] = []
    candidate.kind.build(candidate.folder, replace(content, watch=again.append))
    assert again == ([2] if name in (formats.OURS, "LMDB") else [0, 1, 2])
    assert not candidate.find_fault(candidate.folder)


def test_the_benchmark_finds_what_is_wrong(content: formats.Content, tmp_path: Path) -> None:
    candidate = stores.Candidate("flat memory map", tmp_path, content)
    candidate.build()
    assert candidate.change_byte() == "unnoticed; wrong labels: 1"
    candidate.kind.build(candidate.folder, replace(content, shards=content.shards[:2]))
    assert candidate.find_fault(candidate.folder) == "unnoticed; labels: 6 of 7"


def test_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = tmp_path / "words.txt"
    corpus.write_text("\n".join(f"word{i}" for i in range(40)))
    (tmp_path / "stores").mkdir()
    options = {"shard-size": 10, "workers": 0, "batches": 1, "repeats": 1, "formats": "LMDB"}
    paths = {"folder": tmp_path / "stores", "json": tmp_path / "rows.json"}
    arguments = [f"--{key}={value}" for key, value in {**options, **paths}.items()]
    monkeypatch.setattr(sys, "argv", ["stores.py", str(corpus), *arguments])
    stores.main()
    printed = squeeze(capsys.readouterr().out)
    written = json.loads((tmp_path / "rows.json").read_text())
    assert written["about"]["labels"] == 40
    ours, lmdb = written["rows"]
    assert ours["format"] == formats.OURS
    assert ours["changed_byte"] == "does not open (DamagedStoreError)"
    assert lmdb["changed_byte"] == "unnoticed; wrong labels: 1"
    for row in (ours, lmdb):
        assert row["killed_half_way"].startswith("does not open (ValueError); built again, keeps")
        assert row["labels_a_s_0"] == row["repeats"]["labels_a_s_0"][0] > 0
        assert f"| {row['format']} | {row['kb_a_label']:.2f} (" in printed
    assert not list((tmp_path / "stores").iterdir())


def test_a_single_shard_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = tmp_path / "words.txt"
    corpus.write_text("word")
    monkeypatch.setattr(sys, "argv", ["stores.py", str(corpus), "--formats", "LMDB"])
    with pytest.raises(SystemExit, match=r"Found 1 labels.*smaller --shard-size"):
        stores.main()


def test_missing_pyarrow_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["stores.py", "words.txt"])
    with pytest.raises(SystemExit, match="pip install pyarrow"):
        stores.main()
