# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import torch

from mmdptr.models.data_preprocessors.strokes import split_into_strokes


def alphabet() -> torch.Tensor:
    """Characters that have much in common, as the text embeddings of a tower have."""
    generator = torch.Generator().manual_seed(1)
    return 5 * torch.randn(64, generator=generator) + torch.randn(40, 64, generator=generator)


def test_one_stroke_is_the_whole_character() -> None:
    characters = alphabet()
    torch.testing.assert_close(split_into_strokes(characters, 1), characters[:, None])


def test_characters_share_strokes_but_not_all_of_them() -> None:
    strokes = split_into_strokes(alphabet(), 4)
    assert strokes.shape == (40, 4, 64)
    kinds = [len(strokes[:, i].unique(dim=0)) for i in range(4)]
    assert max(kinds) <= 8
    assert min(kinds) >= 6  # what they have in common does not put all on one side
    assert len(strokes.flatten(1).unique(dim=0)) == 40


def test_strokes_differ_from_row_to_row() -> None:
    strokes = torch.nn.functional.normalize(split_into_strokes(alphabet(), 4), dim=2)
    similar = torch.einsum("nsd,ntd->nst", strokes, strokes).abs().mean(dim=0)
    assert (similar - torch.eye(4)).abs().max() < 0.3


def test_strokes_depend_neither_on_order_nor_much_on_context() -> None:
    characters = alphabet()
    strokes = split_into_strokes(characters, 3)
    torch.testing.assert_close(split_into_strokes(characters.flip(0), 3).flip(0), strokes)
    # Another sentence around it changes a character's embedding a little, and its strokes seldom.
    torch.manual_seed(0)
    other = split_into_strokes(characters + 0.01 * torch.randn(40, 64), 3)
    assert ((other - strokes).abs().amax(dim=2) < 0.1).float().mean() > 0.95


def test_strokes_are_as_strong_as_characters() -> None:
    characters = alphabet()
    strokes = split_into_strokes(characters, 4)
    torch.testing.assert_close(strokes.square().mean(), characters.square().mean())
