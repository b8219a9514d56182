# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""From a folder of natural images to an ORP bank."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from mmdptr.clip import CLIPImageEncoder
from mmdptr.embeddings import ORPBankWriter

logger = logging.getLogger("mmdptr")


def find_images(folder: str | Path) -> list[Path]:
    """List all files below a folder, hidden ones aside, in an order that is always the same.

    Files that are no images are listed too: extraction names and skips them.

    Raises:
        FileNotFoundError: No such folder.
        ValueError: It holds no file.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder. Give a folder of natural images.")
    files = sorted(p for p in root.rglob("*") if p.is_file() and not _hidden(p.relative_to(root)))
    if not files:
        raise ValueError(f"{root} holds no file. Give a folder of natural images without text.")
    return files


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def extract_orp_bank(
    files: Sequence[Path],
    folder: str | Path,
    encoder: CLIPImageEncoder,
    batch_size: int = 32,
    shard_size: int = 256,
    overwrite: bool = False,
) -> tuple[int, list[str]]:
    """Encode images into an ORP bank; goes on where an interrupted run stopped.

    Args:
        files (Sequence[Path]): The image files.
        folder (str or Path): Where the bank goes.
        encoder (CLIPImageEncoder): The encoder.
        batch_size (int): Images that are encoded together. Defaults to 32.
        shard_size (int): Files a shard. Defaults to 256.
        overwrite (bool): Whether to replace a bank that is finished, damaged or of another source.
            Defaults to False.

    Returns:
        tuple[int, list[str]]: How many images the bank holds, and the names of files that were
        skipped because they are no images or broken.

    Raises:
        ValueError: No file is an image, the folder was written from another source, or a size is
            below 1.
        OSError: The disk is full or not writable; what was written stays good.
    """
    if min(batch_size, shard_size) < 1:
        raise ValueError(
            f"batch_size is {batch_size} and shard_size {shard_size}, expected 1 or more."
        )
    source = {
        "clip": encoder.clip.identity.to_dict(),
        "images": [[file.name, file.stat().st_size] for file in files],
        "shard_size": shard_size,
    }
    with ORPBankWriter(folder, source, overwrite) as writer:
        if not writer.complete:
            with tqdm(total=len(files), desc="ORP bank", unit="image") as progress:
                for begin in range(0, len(files), shard_size):
                    shard = files[begin : begin + shard_size]
                    name = f"images-{begin // shard_size:05d}"
                    if not writer.has(name):
                        _write_shard(writer, name, shard, encoder, batch_size)
                    progress.update(len(shard))
            entries = writer.entries().values()
            if not any(entry["images"] for entry in entries):
                writer.discard()
                raise ValueError(
                    f"None of the {len(files)} files is an image that Pillow can read, e.g. "
                    f"{files[0]}. Give a folder of photographs (JPEG, PNG, ...)."
                )
            writer.finish(num_images=sum(entry["images"] for entry in entries))
        entries = writer.entries().values()
        return writer.manifest["num_images"], [n for e in entries for n in e["skipped"]]


def _write_shard(
    writer: ORPBankWriter, name: str, files: Sequence[Path], encoder: CLIPImageEncoder, batch: int
) -> None:
    images, skipped = [], []
    for file in files:
        try:
            images.append(encoder.load(str(file)))
        except OSError as error:
            logger.warning("Skipped: %s", error)
            skipped.append(file.name)
    features = [
        encoder.encode(torch.stack(images[i : i + batch])) for i in range(0, len(images), batch)
    ]
    found = torch.cat(features) if features else torch.empty(0, 0, 0)
    writer.add_images(name, found, images=len(images), skipped=skipped)
