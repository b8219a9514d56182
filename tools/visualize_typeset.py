# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Draw typeset text as stage 1 meets it, from clear to illegible."""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from mmdptr.embeddings import TextEmbeddingStore
from mmdptr.extraction.arguments import exit_with_message
from mmdptr.models.data_preprocessors.typesetting import blur, typeset
from mmdptr.visualization.typeset_maps import draw_typeset_maps
from mmdptr.writing import graphemes

DEGREES = ((0.0, 0.01), (1.0, 1.0), (3.0, 2.0), (10.0, 4.0))
"""tuple: Noise, in root mean squares of the features, and smear, in columns of 32."""


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("store", help="text embeddings, written with --spelling characters")
    parser.add_argument("words", nargs="+", help="labels of the store")
    parser.add_argument("--out", default="typeset.png", help="the picture, .png, .pdf or .svg")
    parser.add_argument("--shape", type=int, nargs=2, default=(1, 32), help="rows and columns")
    parser.add_argument("--seed", type=int, default=0, help="of layout and noise")
    return parser.parse_args()


def degraded(features: Tensor, shape: tuple[int, int]) -> list[Tensor]:
    """Set characters (L, D) in a map (H, W, D), once a degree."""
    clear = typeset(torch.tensor([len(features)]), shape)[0] @ features
    scale = features.square().mean().sqrt()
    maps = []
    for noise, smear in DEGREES:
        spread = torch.tensor([smear * shape[1] / 32])
        smeared = blur(clear, shape, spread) + noise * scale * torch.randn_like(clear)
        maps.append(smeared[0].unflatten(0, shape))
    return maps


@exit_with_message
def main() -> None:
    """Run the tool."""
    args = parse_args()
    torch.manual_seed(args.seed)
    store = TextEmbeddingStore(args.store)
    places = {label: i for i, label in enumerate(store.labels())}
    if missing := [word for word in args.words if word not in places]:
        raise ValueError(f"{args.store} does not hold {missing}. Give labels that it holds.")
    words = {}
    for word in args.words:
        characters = graphemes(word)
        features = store.memory(places[word]).float()[1 : len(characters) + 1]
        if len(features) < len(characters):
            raise ValueError(
                f"{args.store} has no embedding a character of {word!r}. Extract it with "
                "--spelling characters."
            )
        words[word] = (characters, features, degraded(features, tuple(args.shape)))
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    draw_typeset_maps(words).savefig(args.out, dpi=110)
    print(f"Picture: {args.out}")


if __name__ == "__main__":
    main()
