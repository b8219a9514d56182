# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""A set of labels, in memory as long as it is small, on disk from then on."""

import tempfile
from hashlib import blake2b
from pathlib import Path

import lmdb

BATCH = 200_000  # labels that wait for the disk
GROWTH = 1 << 30  # bytes by which the map grows; address space, taken from the disk when used


class SeenLabels:
    """A set of labels that can only be asked whether it has met a label before.

    It holds 56-bit digests instead of strings: among ten million labels the chance that even one
    is mistaken for another is 0.07 %. Up to ``in_memory`` of them are integers in a set, 65 MB a
    million; then they move into an LMDB in a temporary folder. What LMDB holds in memory while it
    writes are the pages of 4 kB that a batch touches, 131,071 of them at most (half a gigabyte).

    Args:
        in_memory (int): Labels that are kept in memory. Defaults to 4 million.
        folder (str or Path, optional): Where to make the temporary folder. Defaults to None: where
            the system makes them.
    """

    def __init__(self, in_memory: int = 4_000_000, folder: str | Path | None = None) -> None:
        self.in_memory = in_memory
        self.folder = folder
        self._digests: set[int] = set()
        self._disk: _DigestsOnDisk | None = None

    def add(self, label: str) -> bool:
        """Remember a label; return whether it is new.

        Raises:
            OSError: The disk is full.
        """
        # Seven bytes: CPython stores an integer below 2**60 in 32 bytes, a larger one in 48.
        digest = int.from_bytes(blake2b(label.encode(), digest_size=7).digest(), "big")
        if digest in self._digests or (self._disk is not None and digest in self._disk):
            return False
        self._digests.add(digest)
        if len(self._digests) >= (self.in_memory if self._disk is None else BATCH):
            if self._disk is None:
                self._disk = _DigestsOnDisk(self.folder)
            self._disk.update(self._digests)
            self._digests = set()
        return True


class _DigestsOnDisk:
    """Digests as the keys of an LMDB, in a folder that goes with this object."""

    def __init__(self, folder: str | Path | None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="mmdptr-labels-", dir=folder)
        # Nothing of it is to survive, so nothing need be synchronised.
        self._env = lmdb.open(self._folder.name, map_size=GROWTH, sync=False, lock=False)
        self._reader = self._env.begin()

    def __contains__(self, digest: int) -> bool:
        return self._reader.get(digest.to_bytes(7, "big")) is not None

    def update(self, digests: set[int]) -> None:
        """Add digests that are not there yet."""
        items = [(digest.to_bytes(7, "big"), b"") for digest in sorted(digests)]
        self._reader.abort()
        while True:
            try:
                with self._env.begin(write=True) as transaction:
                    transaction.cursor().putmulti(items)
                break
            except lmdb.MapFullError:
                self._env.set_mapsize(self._env.info()["map_size"] + GROWTH)
            except lmdb.DiskError as error:
                raise OSError(
                    f"No room for the digests of the labels seen in {self._folder.name} ({error}). "
                    "Set TMPDIR to a folder on a larger disk."
                ) from error
        self._reader = self._env.begin()
