# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The benchmark of stage 1 against the authors' way: that it compares what it says."""

import importlib
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmdptr.clip import CLIPTextEncoder, LoadedCLIP
from tests.builders import nrtr, nrtr_decoder, squeeze, words

sys.path.insert(0, str(Path(__file__).parents[2] / "tools" / "benchmarks"))
tool = importlib.import_module("stage1")


@pytest.fixture(autouse=True)
def _scope() -> None:
    init_default_scope("mmocr")


@pytest.fixture
def authors(tiny_clip: LoadedCLIP) -> Any:
    """The authors' memory; its noise tells images (channel 0) and positions (channel 1)."""
    noise = torch.zeros(50, 197, 256)
    noise[:, :, 0] = torch.arange(50)[:, None]
    noise[:, :, 1] = torch.arange(197)
    return tool.AuthorsMemory(CLIPTextEncoder(tiny_clip), noise)


def test_authors_memory_is_that_of_a_store_with_padding(
    authors: Any, tiny_clip: LoadedCLIP, tmp_path: Path
) -> None:
    encoder = CLIPTextEncoder(tiny_clip, keep_padding=True)
    _, store = tool.write_store(tmp_path, words(8), encoder)
    cfg = tool.stage1_config(nrtr(), store, None, batch=8)
    batch = next(iter(Runner.build_dataloader(cfg.train_dataloader)))
    memory = authors.encode([sample.gt_text.item for sample in batch["data_samples"]])
    assert memory.shape == (8, 78, 256)
    torch.testing.assert_close(memory.flatten(0, 1), batch["inputs"], atol=5e-3, rtol=1e-3)


def test_authors_draw_an_image_a_label_and_positions_for_all(authors: Any) -> None:
    labels = words(8)
    noise = (authors(labels)["inputs"] - authors.encode(labels)) / 0.1
    images, positions = noise[:, :, 0].round(), noise[:, :, 1].round()
    assert (images == images[:, :1]).all()
    assert len(images[:, 0].unique()) > 1
    assert (positions == positions[:1]).all()
    assert len(positions[0].unique()) == 78


def test_passes_are_averaged(authors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tool.AuthorsWay(6, decoder=nrtr_decoder(), embed_dims=256, data_preprocessor=authors)
    train, calls = model.decoder.forward_train, []
    monkeypatch.setattr(
        model.decoder, "forward_train", lambda **data: calls.append(data) or train(**data)
    )
    data = authors(words(8))
    six = model.train().loss(**data)["loss_ce"]
    assert len(calls) == 6
    model.passes = 1
    torch.testing.assert_close(model.loss(**data)["loss_ce"], six)  # there is no dropout


def test_ways_train_one_decoder(tiny_clip: LoadedCLIP, tmp_path: Path) -> None:
    ways = tool.build_ways(tmp_path, words(16), tiny_clip, nrtr(), batch=8, precision="bf16")
    assert list(ways) == [tool.AUTHORS, tool.ONE_PASS, tool.LIVE, tool.STORE]
    decoders = [way.model.decoder for way in ways.values()]
    assert len({str(decoder) for decoder in decoders}) == 1
    assert len({str(way.optim_wrapper) for way in ways.values()}) == 1
    assert "BF16OptimWrapper" in str(ways[tool.STORE].optim_wrapper)
    assert [ways[name].model.passes for name in tool.PASSES] == [6, 1]
    for way in ways.values():
        before = way.model.decoder.classifier.weight.clone()
        assert way.seconds(1) > 0
        assert not torch.equal(way.model.decoder.classifier.weight, before)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    Config({"model": nrtr()}).dump(tmp_path / "nrtr.py")
    (tmp_path / "words.txt").write_text("\n".join(words(40)))
    return tmp_path


def test_rows_hold_ratios_of_medians(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--config", files / "nrtr.py", "--model", "mmdptr-tiny", "--json", files / "out")
    sizes = ("--labels", 16, "--batch", 4, "--steps", 1, "--repeats", 3)
    arguments = ("stage1", files / "words.txt", *options, *sizes)
    monkeypatch.setattr(sys, "argv", list(map(str, arguments)))
    tool.main()
    result = json.loads((files / "out").read_text())
    rows = result["rows"]
    medians = [statistics.median(row["repeats_labels_per_s"]) for row in rows]
    assert [len(row["repeats_labels_per_s"]) for row in rows] == [3] * 4
    table = squeeze(capsys.readouterr().out)
    for row, median in zip(rows, medians, strict=True):
        assert row["labels_per_s"] == pytest.approx(median, abs=0.01)
        assert row["ratio_of_medians"] == pytest.approx(median / medians[0], abs=0.01)
        assert f"| {row['way']} | {row['labels_per_s']:.1f} |" in table
    assert result["about"]["batch"] == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--labels", 16, "--batch", 32), r"--labels is 16, expected --batch \(32\) or more"),
        (("--labels", 99), "has 40 usable words, expected 99"),
    ],
)
def test_mistakes_end_with_a_message(
    files: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[Any, ...], message: str
) -> None:
    arguments = ("stage1", files / "words.txt", "--config", files / "nrtr.py", *options)
    monkeypatch.setattr(sys, "argv", list(map(str, arguments)))
    with pytest.raises(SystemExit, match=f"^Error: .*{message}"):
        tool.main()
