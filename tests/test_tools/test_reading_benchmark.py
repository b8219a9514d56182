# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The benchmark of reading a large store: what it builds, reads, counts as memory, and compares."""

import importlib
import json
import mmap
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmocr.registry import MODELS

from mmdptr.embeddings import ORPBank, TextEmbeddingStore, TextEmbeddingWriter
from tests.builders import nrtr, nrtr_decoder, squeeze

sys.path.insert(0, str(Path(__file__).parents[2] / "tools" / "benchmarks"))
tool = importlib.import_module("reading")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    init_default_scope("mmocr")
    monkeypatch.setattr(tool, "SHARD_SIZE", 250)
    monkeypatch.setattr(tool, "IMAGES", 4)


def gigabytes(shards: int) -> float:
    return shards * tool.SHARD_SIZE * tool.LABEL_BYTES / 1e9


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Has a store of 750 labels, a smaller one and a bank."""
    tool.build_store(tmp_path / "store", gigabytes(3))
    tool.build_store(tmp_path / "small", 0)
    tool.build_bank(tmp_path / "bank")
    return tmp_path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    Config({"model": nrtr(decoder=nrtr_decoder(max_seq_len=20))}).dump(tmp_path / "tiny.py")
    return tmp_path / "tiny.py"


def test_store_is_as_large_as_asked_for(folder: Path) -> None:
    store = TextEmbeddingStore(folder / "store")
    assert len(store) == len(set(store.labels())) == 750
    size = sum(path.stat().st_size for path in (folder / "store").iterdir())
    assert size == pytest.approx(gigabytes(3) * 1e9, rel=0.02)
    lengths = [len(rows) for rows, _ in store.memories(range(750))]
    assert set(lengths) == {1 + own for own in tool.OWN_TOKENS}
    assert sum(lengths) / 750 == pytest.approx(5.5, abs=0.2)
    assert store.manifest["characters"] == "".join(sorted(set("".join(store.labels()))))
    assert store.manifest["max_label_length"] == max(map(len, store.labels()))
    assert len(ORPBank(folder / "bank")) == 4


def test_an_interrupted_build_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add, added = TextEmbeddingWriter.add_labels, []
    words = ["x" * 20, *islice(tool.pseudo_words(), 999)]
    monkeypatch.setattr(tool, "pseudo_words", lambda: iter(words))

    def add_labels(self: TextEmbeddingWriter, name: str, *content: Any) -> None:
        added.append(name)
        if len(added) == 3:
            raise KeyboardInterrupt
        add(self, name, *content)

    monkeypatch.setattr(TextEmbeddingWriter, "add_labels", add_labels)
    with pytest.raises(KeyboardInterrupt):
        tool.build_store(tmp_path / "store", gigabytes(4))
    for _ in range(2):  # a finished store is left as it is
        tool.build_store(tmp_path / "store", gigabytes(4))
    assert [name[-1] for name in added] == ["0", "1", "2", "2", "3"]
    store = TextEmbeddingStore(tmp_path / "store")
    assert store.labels() == words
    assert store.manifest["max_label_length"] == 20
    assert store.manifest["characters"] == "".join(sorted(set("".join(words))))


def test_a_bank_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool.build_bank(tmp_path / "bank")
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "bank").iterdir()}
    monkeypatch.setattr(tool.ORPBankWriter, "add_images", None)
    tool.build_bank(tmp_path / "bank")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "bank").iterdir()} == files


def test_mapped_files_are_told_apart(tmp_path: Path) -> None:
    store, bank = tmp_path / "store", tmp_path / "bank"
    for path, megabytes in ((store, 3), (bank, 2), (tmp_path / "store2", 9)):
        path.mkdir()
        (path / "some file").write_bytes(bytes(megabytes * 2**20))
    before = tool.memory(store, bank)
    assert (before["store_mb"], before["bank_mb"]) == (0, 0)
    maps = []
    for path in (store, bank, tmp_path / "store2"):
        with (path / "some file").open("rb") as file:
            maps.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        maps[-1].read()
    after = tool.memory(store, bank)
    assert (after["store_mb"], after["bank_mb"]) == (3 * 2**20 / 1e6, 2 * 2**20 / 1e6)
    assert after["RssFile_mb"] - before["RssFile_mb"] > 13
    assert after["VmRSS_mb"] == pytest.approx(after["RssAnon_mb"] + after["RssFile_mb"])


def test_all_batches_are_read_and_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "BATCH", 8)
    monkeypatch.setattr(tool, "BLOCK", 2)
    collate, batches = tool.concat_collate, []

    def noting(samples: list[dict[str, Any]]) -> dict[str, Any]:
        batches.append([sample["data_samples"].sample_idx for sample in samples])
        return collate(samples)

    monkeypatch.setattr(tool, "concat_collate", noting)
    start, opened, first, second = tool.read(folder, 5, threads=1)
    assert [len(batch) for batch in batches] == [8] * 12  # two are of the small store
    batches = batches[2:]
    assert batches[:5] == batches[5:]
    assert len({index for batch in batches for index in batch}) > 30
    assert start["store_mb"] == 0
    assert opened["store_mb"] > 0
    for row in (first, second):
        assert len(row["rates"]) == len(row["blocks_mb"]) == 3
        assert sorted(row["rates"])[1] == row["labels_per_s"] > 0
        assert row["bank_mb"] > 0
        assert row["seconds"] > 0


def test_parameters_are_those_of_the_decoder(config: Path) -> None:
    decoder = MODELS.build(nrtr_decoder(max_seq_len=20))
    expected = sum(parameter.numel() for parameter in decoder.parameters())
    assert tool.decoder_parameters(config) == expected


def test_rate_is_the_median_of_steps_after_the_first(
    folder: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times, samples = iter([100.0, 1.0, 2.0, 4.0]), []

    def seconds(way: Any, steps: int) -> float:
        samples.extend(next(way.batches)["data_samples"])
        return next(times)

    monkeypatch.setattr(tool.Way, "seconds", seconds)
    data = TextEmbeddingStore(folder / "store"), ORPBank(folder / "bank")
    row = tool.consume(config, *data, batch=8, steps=3)
    assert row["rates"] == [8, 4, 2]
    assert row["labels_per_s"] == 4
    assert len({sample.sample_idx for sample in samples}) == 32


def test_command_line(
    folder: Path, config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ("--gigabytes", gigabytes(3), "--batches", 2, "--train-batch", 4, "--steps", 1)
    options = ("--configs", config, "--json", folder / "out")
    monkeypatch.setattr(sys, "argv", list(map(str, ("reading", folder, *sizes, *options))))
    tool.main()
    result = json.loads((folder / "out").read_text())
    assert result["about"]["labels"] == 750
    start, _, first, second, nrtr_row = result["rows"]
    assert nrtr_row["ratio"] == first["labels_per_s"] / nrtr_row["labels_per_s"]
    printed = squeeze(capsys.readouterr().out)
    growth = second["VmRSS_mb"] - start["VmRSS_mb"]
    assert f"| {second['VmRSS_mb']:,.0f} | {growth:.0f} |" in printed
    assert f"| NRTRDecoder of tiny | {nrtr_row['parameters'] / 1e6:.1f} M |" in printed


def test_largest_decoder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, width in (("dptr_a", 8), ("dptr_b", 512), ("dptr_c", 64), ("large", 9999)):
        decoder = nrtr_decoder(d_inner=width)
        Config({"model": nrtr(decoder=decoder)}).dump(tmp_path / f"{name}.py")
    monkeypatch.setattr(tool, "config_folder", lambda: tmp_path)
    assert tool.largest_recognizer() == tmp_path / "dptr_b.py"
