# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Stores, a bank and images for small trainings; their probes, afresh for each test."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmocr.registry import HOOKS
from PIL import Image

from tests.builders import WIDTH, words, write_bank, write_store

from .stage_2 import CurrentInstances, Probe


@pytest.fixture(autouse=True)
def probes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for cls in (Probe, CurrentInstances):
        HOOKS.register_module(module=cls)
    monkeypatch.setattr(Probe, "epochs", [])
    monkeypatch.setattr(Probe, "stop_at", None)
    # only for the log, and slow
    monkeypatch.setattr("mmengine.runner.runner.collect_env", dict)
    monkeypatch.setattr(Config, "pretty_text", "")
    yield
    for cls in (Probe, CurrentInstances):
        HOOKS._module_dict.pop(cls.__name__)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # of another width than the decoder, so that there is a projection
    return write_store(tmp_path_factory.mktemp("stores") / "words", words(80), width=WIDTH // 2)


@pytest.fixture(scope="module")
def spelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stores") / "words"
    return write_store(folder, words(80), width=WIDTH // 2, spelling="characters")


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bank(tmp_path_factory.mktemp("banks") / "bank", width=WIDTH // 2)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    lines = []
    for i, word in enumerate(words(8, seed=5)):
        pixels = rng.integers(0, 255, (32, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        lines.append(json.dumps({"filename": f"{i}.png", "text": word}))
    (folder / "words.jsonl").write_text("\n".join(lines))
    return folder
