# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Annotation files of one JSON object a line, as MMOCR's LineJsonParser reads them."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def read(path: Path, out: Path) -> list[dict[str, Any]]:
    """Read an annotation file; file names become relative to the folder ``out``.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A line is not an object with "filename" and "text".
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist. Give the folder that it belongs to.")
    entries = []
    # Not splitlines, which also splits at separators that JSON strings may hold, such as U+2028.
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            image, text = path.parent / entry["filename"], entry["text"]
            if type(text) not in (str, int, float):
                raise TypeError(f"A text is {text!r}.")
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f'{path}, line {number}: found {line[:60]!r}, expected {{"filename": "...", '
                '"text": "..."}, in which a text may be a number.'
            ) from error
        # ".." leads out of the folder that a symbolic link stands for, not out of the link's own.
        image = image.parent.resolve() / image.name
        entry["filename"] = os.path.relpath(image, out.resolve())
        entry["text"] = str(text)
        entries.append(entry)
    return entries


def write(path: Path, entries: Iterable[dict[str, Any]]) -> None:
    """Write one annotation file, and say how many crops it has."""
    lines = [
        json.dumps({key: entry[key] for key in ("filename", "text")}, ensure_ascii=False)
        for entry in entries
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{path}: {len(lines)} crops")
