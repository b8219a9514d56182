# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The benchmark of text encoding: what it compares is the same, and how it counts."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

from mmdptr.clip import CLIPTextEncoder, load_clip

sys.path.insert(0, str(Path(__file__).parents[2] / "tools" / "benchmarks"))
tool = importlib.import_module("text_encoding")


def test_operations_are_those_of_the_matrices_and_the_attention() -> None:
    encoder = CLIPTextEncoder(load_clip("mmdptr-tiny", "random"))
    labels = ["cat", "window"]
    features = encoder.encode(labels)
    blocks = encoder.tower.tower.transformer.resblocks
    weights = sum(
        p.numel() for block in blocks for p in block.parameters() if p.dim() == 2
    )  # each is multiplied with every own token
    products = 2 * weights * len(features.tokens)
    seen = sum(
        int(start) + place + 1
        for start, length in zip(features.prefix_lengths, features.lengths, strict=True)
        for place in range(int(length))
    )
    width = features.tokens.shape[1]
    attention = len(blocks) * seen * width * 4  # scores and sums, multiplied and added
    pooling = len(labels) * 2 * width * encoder.pooled_width
    expected = (products + attention + pooling) / len(labels)
    assert tool.operations(encoder, features) == pytest.approx(expected)


def test_both_encoders_are_compared_on_the_same_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus, report = tmp_path / "words.txt", tmp_path / "report.json"
    corpus.write_text("\n".join(f"word{i}" for i in range(40)))
    options = ["--model", "mmdptr-tiny", "--labels", "16", "--plain-labels", "4", "--repeats", "1"]
    command = [str(corpus), *options, "--precision", "fp32", "--json", str(report)]
    monkeypatch.setattr(sys, "argv", ["text_encoding.py", *command])
    monkeypatch.setattr(tool, "gemm_rate", lambda dtype: {torch.float32: 1e9}[dtype])
    tool.main()
    (row,) = json.loads(report.read_text())["rows"]
    assert row["max_difference"] < 1e-4
    assert row["gemm_gflops"] == 1
    ratio = row["mmdptr_labels_per_s"] / row["open_clip_labels_per_s"]
    assert row["ratio_of_medians"] == pytest.approx(ratio, rel=0.1)
    assert f"{row['part_of_gemm']:.0%}" in capsys.readouterr().out
