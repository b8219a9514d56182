# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import importlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import pytest
from mmengine.registry import init_default_scope
from mmocr.registry import DATASETS, MODELS
from PIL import Image

from mmdptr.engine.isolation import isolated_runner
from tests.builders import nrtr

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
tool = importlib.import_module("visualize_fmu")


def write_lmdb(folder: Path, picture: bytes) -> dict[str, Any]:
    with lmdb.open(str(folder / "test")) as env, env.begin(write=True) as transaction:
        transaction.put(b"num-samples", b"1")
        transaction.put(b"image-000000001", picture)
        transaction.put(b"label-000000001", b"word")
    return {"type": "RecogLMDBDataset", "ann_file": "test"}


def write_files(folder: Path, picture: bytes) -> dict[str, Any]:
    (folder / "0.png").write_bytes(picture)
    (folder / "test.jsonl").write_text(json.dumps({"filename": "0.png", "text": "word"}))
    parser = {"type": "LineJsonParser", "keys": ["filename", "text"]}
    return {"type": "RecogTextDataset", "ann_file": "test.jsonl", "parser_cfg": parser}


@pytest.mark.parametrize(
    ("write", "loader", "size"),
    [
        (write_lmdb, "LoadImageFromNDArray", (64, 32)),  # as the model gets it
        (write_files, "LoadImageFromFile", (200, 50)),  # as it is
    ],
)
def test_images_of_files_and_of_an_lmdb_are_read(
    tmp_path: Path,
    write: Callable[[Path, bytes], dict[str, Any]],
    loader: str,
    size: tuple[int, int],
) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (200, 50), (250, 100, 10)).save(picture, "PNG")
    pipeline = [
        {"type": loader},
        {"type": "Resize", "scale": (64, 32)},
        {"type": "LoadOCRAnnotations", "with_text": True},
        {"type": "PackTextRecogInputs", "meta_keys": ["img_path", "img_shape", "valid_ratio"]},
    ]
    source = {"data_root": str(tmp_path), "test_mode": True, "pipeline": pipeline}
    with isolated_runner():
        init_default_scope("mmocr")
        dataset = DATASETS.build({**write(tmp_path, picture.getvalue()), **source})
        model = MODELS.build(nrtr(neck={"type": "FMU"})).eval()
        reading = tool.read(model, dataset, 0)
    assert reading.truth == "word"
    assert reading.image.shape == (size[1], size[0], 3)
    assert (reading.image == [250, 100, 10]).all()
    tool.draw_fmu_attention([reading]).savefig(tmp_path / "fmu.png")
