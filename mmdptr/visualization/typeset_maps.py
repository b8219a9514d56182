# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Pictures of typeset text."""

from collections.abc import Mapping, Sequence

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F


def draw_typeset_maps(
    words: Mapping[str, tuple[Sequence[str], Tensor, Sequence[Tensor]]],
) -> Figure:
    """Draw where a map shows each character of a word.

    Args:
        words (Mapping): The word to its L characters, their features (L, D), and maps (H, W, D) of
            it, one for each degree of legibility.

    Returns:
        Figure: A row a word, a panel a map: how alike (cosine) the features of each column, the
        mean of its rows, are to each character's.
    """
    degrees = max(len(maps) for _, _, maps in words.values())
    size = (2.6 * degrees, 1.5 * len(words))
    figure, axes = plt.subplots(len(words), degrees, figsize=size, squeeze=False)
    for row, (word, (characters, features, maps)) in zip(axes, words.items(), strict=True):
        row[0].set_ylabel(word, fontsize=9)
        for axis, typeset_map in zip(row, maps, strict=False):
            columns = typeset_map.mean(dim=0)
            alike = F.cosine_similarity(features[:, None], columns[None], dim=2)
            axis.imshow(alike.numpy(), vmin=0, vmax=1, cmap="viridis", aspect="auto")
            axis.set_xticks([])
            axis.set_yticks(range(len(characters)), labels=list(characters), fontsize=8)
    figure.tight_layout(pad=0.6)
    return figure
