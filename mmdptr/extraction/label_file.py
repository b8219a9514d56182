# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The labels of a corpus on disk, while they are encoded."""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import count, islice
from pathlib import Path


class LabelFile:
    """Labels that were filtered, one a line, in a hidden file beside the store.

    A corpus may outgrow the memory, and several processes share it: each reads the file and takes
    every so-manieth shard. Only the one that holds the store's lock writes it; as a context manager
    it deletes the file in the end.

    Args:
        folder (str or Path): Folder of the store.
        shard_size (int): Labels a shard.
    """

    def __init__(self, folder: str | Path, shard_size: int) -> None:
        resolved = Path(folder).resolve()
        self.path = resolved.with_name(f".{resolved.name}.labels")
        self._partial = self.path.with_name(f"{self.path.name}.partial")
        self.shard_size = shard_size

    def write(self, labels: Iterable[str]) -> tuple[int, str]:
        """Write the labels.

        Returns:
            tuple[int, str]: How many there are, and the SHA-256 of all of them, joined by newlines.

        Raises:
            OSError: The disk is full or not writable.
        """
        number, digest = 0, hashlib.sha256()
        try:
            # By a new file: processes that a killed run has left may still read the old one.
            with self._partial.open("wb") as file:
                for number, label in enumerate(labels, start=1):
                    text = label.encode()
                    file.write(text + b"\n")
                    digest.update(text if number == 1 else b"\n" + text)
            self._partial.replace(self.path)
        except OSError as error:
            raise OSError(
                error.errno,
                f"The labels could not be written to {self.path} ({error.strerror}). Make room, or "
                "choose a folder on a larger disk",
            ) from error
        return number, digest.hexdigest()

    def __iter__(self) -> Iterator[str]:
        with self.path.open(encoding="utf-8", newline="\n") as file:
            for line in file:
                yield line.removesuffix("\n")

    def shards(self, first: int = 0, step: int = 1) -> Iterator[tuple[int, list[str]]]:
        """Yield the number and the labels of every ``step``-th shard, from shard ``first`` on."""
        labels = iter(self)
        for number in count():
            shard = list(islice(labels, self.shard_size))
            if not shard:
                return
            if number % step == first:
                yield number, shard

    def __enter__(self) -> "LabelFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._partial.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
