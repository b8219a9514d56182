# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mmdptr.embeddings import DamagedStoreError
from mmdptr.embeddings.row_file import RowFile

MATRIX = torch.arange(60, dtype=torch.float16).view(20, 3)
TENSORS = {"ids": torch.arange(20, dtype=torch.int32), "matrix": MATRIX, "x": torch.ones(7).byte()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_file(TENSORS, tmp_path / "x.safetensors", metadata={"format": "pt"})
    return tmp_path / "x.safetensors"


@pytest.mark.parametrize("key", TENSORS)
@pytest.mark.parametrize(("first", "number"), [(0, 1), (0, 7), (2, 5), (6, 1)])
def test_rows_are_read(path: Path, key: str, first: int, number: int) -> None:
    rows = TENSORS[key][first : first + number]
    out = torch.zeros_like(rows).numpy()
    RowFile(path).read(key, first * rows[0].nbytes, memoryview(out).cast("B"))
    assert torch.equal(torch.from_numpy(out), rows)


def test_rows_are_read_into_the_middle_of_a_matrix(path: Path) -> None:
    out = torch.zeros(6, 3).half()
    RowFile(path).read("matrix", 18 * 6, memoryview(out.numpy()[2:4]).cast("B"))
    assert torch.equal(out[2:4], MATRIX[18:])
    assert not out[:2].any()
    assert not out[4:].any()


def test_a_file_that_is_cut_off_while_open_is_named(path: Path) -> None:
    rows = RowFile(path)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(DamagedStoreError, match=r"x\.safetensors ends too early"):
        rows.read("matrix", 0, memoryview(bytearray(120)))
