# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Reading some rows of a matrix in a safetensors file."""

import json
import os
from pathlib import Path

from .sharded_folder import DamagedStoreError


class RowFile:
    """Reads rows into memory that is there already.

    A mapping would leave every page that was touched in the process's memory and cost a page fault
    each. Reading at a place needs no file position, so that forked processes may share it.

    Args:
        path (Path): A safetensors file: the length of a JSON header (8 bytes, little-endian), the
            header with each tensor's place, the tensors.

    Raises:
        FileNotFoundError: No such file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("rb", buffering=0)
        length = int.from_bytes(self._file.read(8), "little")
        header = json.loads(self._file.read(length))
        header.pop("__metadata__", None)
        self._begins = {key: 8 + length + x["data_offsets"][0] for key, x in header.items()}

    def read(self, key: str, place: int, buffer: memoryview) -> None:
        """Fill a buffer with the bytes of the tensor ``key`` from byte ``place`` of it on.

        Raises:
            DamagedStoreError: The file ends before.
        """
        found = os.preadv(self._file.fileno(), [buffer], self._begins[key] + place)
        if found != len(buffer):
            raise DamagedStoreError(f"{self.path} ends too early: it was cut off. Copy it again.")
