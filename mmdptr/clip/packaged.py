# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Weights that come with this package, and others like them: small CLIPs, in smaller files.

Most of a small CLIP is its token embedding, a row for each of 49,408 pieces of words, of which a
CLIP that reads character by character has met a few dozen. A file has only these rows, in float16.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

WEIGHTS = Path(__file__).parent / "weights"
EMBEDDING = "token_embedding.weight"
TOKENS = "known_tokens"


def packaged_models() -> dict[str, Path]:
    """Return the weights files of this package by model name."""
    return {path.stem: path for path in sorted(WEIGHTS.glob("*.safetensors"))}


def pack(state_dict: dict[str, Tensor], known_tokens: Collection[int], file: Path) -> None:
    """Write the weights of a CLIP that knows some tokens only.

    Args:
        state_dict (dict[str, Tensor]): Weights of an open_clip ``CLIP``.
        known_tokens (Collection[int]): The tokens that it was trained on.
        file (Path): Where to write.

    Raises:
        ValueError: It is not a ``CLIP`` with a text tower of its own, or a weight is not finite,
            or too large for float16.
    """
    if EMBEDDING not in state_dict:
        raise ValueError(f"The weights have no {EMBEDDING!r}. Give those of an open_clip CLIP.")
    tokens = torch.tensor(sorted(known_tokens))
    halves = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in {**state_dict, EMBEDDING: state_dict[EMBEDDING][tokens]}.items()
    }
    for name, tensor in halves.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{name} is not finite in float16. Has the training diverged?")
    size = str(len(state_dict[EMBEDDING]))
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(
        {TOKENS: tokens.int(), **{name: x.contiguous() for name, x in halves.items()}},
        file,
        metadata={"format": "pt", "vocabulary": size},
    )


def is_packed(file: Path) -> bool:
    """Whether a file was written by :func:`pack`."""
    if file.suffix != ".safetensors" or not file.is_file():
        return False
    try:
        with safe_open(file, "pt") as content:
            return TOKENS in content.keys()  # noqa: SIM118  it is no mapping
    except SafetensorError:
        return False  # open_clip says what it thinks of it


@contextmanager
def unpacked(file: Path) -> Iterator[Path]:
    """Give the weights as a file that open_clip loads; the rows of other tokens are zeros."""
    state_dict = load_file(file)
    tokens = state_dict.pop(TOKENS).long()
    with safe_open(file, "pt") as header:
        vocabulary = int(header.metadata()["vocabulary"])
    rows = state_dict[EMBEDDING]
    state_dict[EMBEDDING] = rows.new_zeros(vocabulary, rows.shape[1]).index_copy(0, tokens, rows)
    with TemporaryDirectory() as folder:
        path = Path(folder) / file.name
        save_file({name: x.float() for name, x in state_dict.items()}, path, {"format": "pt"})
        yield path


def known_tokens(file: Path) -> frozenset[int]:
    """Return the tokens that a packaged CLIP was trained on."""
    with safe_open(file, "pt") as content:
        return frozenset(content.get_tensor(TOKENS).tolist())
