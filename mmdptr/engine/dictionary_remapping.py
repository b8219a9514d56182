# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""A decoder's classes, moved from one dictionary to another."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def remap_classes(
    loaded: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    theirs: Sequence[str],
    ours: Sequence[str],
) -> dict[str, Tensor]:
    """Reorder the classes of embeddings and classifiers, character by character.

    Special tokens are matched by name, as characters are. Characters that only ``ours`` has keep
    the values of ``expected``; those that only ``theirs`` has are dropped.

    Args:
        loaded (Mapping[str, Tensor]): Decoder tensors of a checkpoint.
        expected (Mapping[str, Tensor]): The recognizer's tensors of the same names.
        theirs (Sequence[str]): Classes of the checkpoint, in their order.
        ours (Sequence[str]): Classes of the recognizer, in their order.

    Returns:
        dict[str, Tensor]: ``loaded``, with its classes in the order of ``ours``.

    Raises:
        ValueError: A tensor has two dimensions that could be its classes.
    """
    rows = {character: row for row, character in enumerate(theirs)}
    index = torch.tensor([rows.get(character, -1) for character in ours])
    remapped = dict(loaded)
    for name in loaded.keys() & expected.keys():
        tensor, mine = loaded[name], expected[name]
        classes = (len(theirs), len(ours))
        sizes = list(zip(tensor.shape, mine.shape, strict=False))
        dims = [dim for dim, pair in enumerate(sizes) if pair == classes]
        if len(dims) > 1:
            raise ValueError(
                f"{name} has shape {tuple(tensor.shape)} there and {tuple(mine.shape)} here: which "
                "dimension holds the classes cannot be told. Use a dictionary of another size than "
                "the decoder's width, or run stage 1 again with the recognizer's dictionary."
            )
        for dim in dims:
            known = (index >= 0).view([-1 if i == dim else 1 for i in range(tensor.dim())])
            remapped[name] = torch.where(
                known, tensor.index_select(dim, index.clamp(min=0)), mine.to(tensor)
            )
    return remapped
