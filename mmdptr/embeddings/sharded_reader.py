# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""What reading a store and reading a bank have in common."""

from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from .sharded_folder import checked_path, open_shard, read_manifest
from .verification import verify_changed


class ShardedReader:
    """Reads a sharded folder, memory-mapped; a spawned worker maps it anew.

    Subclasses set ``kind`` and say in :meth:`_open` what they keep of the shards.

    Args:
        folder (str or Path): The folder that the extraction tool wrote.
        verify_checksums (bool or str): Whether to compare every byte with its checksum first. Costs
            one sequential read of what has changed since it was last compared; ``'all'`` reads all.
            Defaults to True.

    Raises:
        FileNotFoundError: No such folder there.
        DamagedStoreError: A file is missing or not what was written; the message names it.
        ValueError: Not complete, empty, of another kind or format version.
    """

    kind: str

    def __init__(self, folder: str | Path, verify_checksums: bool | Literal["all"] = True) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(folder, self.kind)
        if verify_checksums:
            verify_changed(folder, self.manifest, again=verify_checksums == "all")
        else:
            for name, entry in self.manifest["files"].items():
                checked_path(folder, name, entry)
        self._open()

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "manifest": self.manifest}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def _open(self) -> None:
        raise NotImplementedError

    def _shard(self, name: str) -> dict[str, Tensor]:
        """Map one shard."""
        return open_shard(self.folder, name, self.manifest)
