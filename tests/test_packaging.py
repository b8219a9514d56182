# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The wheel is what users have: it must bring the configs and tools that `mim` looks for."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel unpacked, as pip would install it."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_brings_all_configs_and_tools(installed: Path) -> None:
    for name in ("configs", "tools"):
        ours = {p.relative_to(ROOT / name) for p in (ROOT / name).rglob("*.py")}
        theirs = installed / "mmdptr" / ".mim" / name
        assert ours == {p.relative_to(theirs) for p in theirs.rglob("*.py")}
    assert (installed / "mmdptr/.mim/model-index.yml").is_file()
    assert (installed / "mmdptr/clip/weights/clip-word-tiny.safetensors").is_file()
    assert (installed / "mmdptr/clip/model_configs/mmdptr-tiny.json").is_file()
    assert not list(installed.glob("tests"))


def test_base_dependencies_leave_mmcv_alone(installed: Path) -> None:
    (metadata,) = installed.glob("mmdptr-*.dist-info/METADATA")
    required = [x for x in metadata.read_text().splitlines() if x.startswith("Requires-Dist: mmcv")]
    assert required == ["Requires-Dist: mmcv-lite==2.0.1; extra == 'openmmlab'"]


@pytest.fixture
def env(installed: Path) -> dict[str, str]:
    """An environment where the wheel is what is installed, and openmim beside it."""
    pytest.importorskip("mim", reason="openmim is in the extra `mim`")
    return {
        **os.environ,
        "PYTHONPATH": str(installed),
        "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }


def test_mim_runs_a_tool_from_the_wheel(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("dog\ncat\n")
    command = ["mim", "run", "mmdptr", "extract_text_embeddings", "words.txt", "--out", "store"]
    run = subprocess.run(
        [*command, "--model", "clip-word-tiny", "--spelling", "characters"],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "store: 2 labels" in run.stdout, run.stdout + run.stderr


def test_mim_trains_one_of_our_configs_from_the_wheel(env: dict[str, str], tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    rng = np.random.default_rng(0)
    for name in ("train", "test_iiit5k", "test_svt", "test_ic13", "test_ic15"):
        pixels = rng.integers(0, 255, (32, 100, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(data / f"{name}.png")
        line = json.dumps({"filename": f"{name}.png", "text": "word"})
        (data / f"{name}.jsonl").write_text(line + "\n")
    options = ["train_cfg.max_iters=1", "train_dataloader.num_workers=0"]
    options += ["custom_hooks=[]"]  # without stage 1
    options += ["train_dataloader.persistent_workers=False", "train_dataloader.batch_size=1"]
    command = ["mim", "train", "mmdptr", "dptr_nrtr_mini.py", "--work-dir", str(tmp_path / "run")]
    run = subprocess.run(
        [*command, "--cfg-options", *options],
        env={**env, "MMDPTR_REAL7K": str(data)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (tmp_path / "run" / "iter_1.pth").is_file(), run.stdout + run.stderr
