# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
from typing import Any

import numpy as np
import pytest
import torch

from mmdptr.models import TypesetPreprocessor
from mmdptr.models.data_preprocessors import typeset
from mmdptr.models.data_preprocessors.strokes import split_into_strokes
from tests.builders import sample

WIDTH = 64


def batch(texts: list[str], together: bool = False) -> dict[str, Any]:
    """Memories whose rows tell character and slot: one-hot by character, 1 / 100 a slot."""
    memories = []
    for text in texts:
        memory = torch.zeros(len(text) + 3, WIDTH)  # pooled, characters, quote, end of text
        for slot, x in enumerate(text, start=1):
            memory[slot, ord(x) - ord("a")] = 1
            memory[slot, -1] = slot / 100
        memories.append(memory)
    ids = [np.array([-1, *map(ord, text), 262, 49407]) for text in texts]
    samples = [
        sample(text, memory_length=len(memory), token_ids=own)
        for text, memory, own in zip(texts, memories, ids, strict=True)
    ]
    return {"inputs": torch.cat(memories) if together else memories, "data_samples": samples}


@pytest.mark.parametrize("together", [False, True])
def test_characters_stand_in_their_places(together: bool) -> None:
    texts = ["abc", "za"]
    data = TypesetPreprocessor((1, 16))(batch(texts, together))
    cover, _ = typeset(torch.tensor([3, 2]), (1, 16), irregular=False)
    assert data["inputs"].shape == (2, 16, WIDTH)
    for text, found, places in zip(texts, data["inputs"], cover, strict=True):
        for slot, x in enumerate(text):
            torch.testing.assert_close(found[:, ord(x) - ord("a")], places[:, slot])
    assert all(x.valid_ratio == 1 for x in data["data_samples"])
    assert [x.gt_text.item for x in data["data_samples"]] == texts


def test_strokes_of_characters_stand_in_their_rows() -> None:
    texts = ["abc", "za"]
    data = TypesetPreprocessor((4, 16), strokes=4)(batch(texts))
    memories = batch(texts)["inputs"]
    characters = torch.cat([x[1 : len(text) + 1] for x, text in zip(memories, texts, strict=True)])
    strokes = split_into_strokes(characters, 4)
    cover, _ = typeset(torch.tensor([3, 2]), (4, 16), irregular=False, strokes=4)
    expected = [cover[0] @ strokes[:3].flatten(0, 1), cover[1, :, :8] @ strokes[3:].flatten(0, 1)]
    torch.testing.assert_close(data["inputs"], torch.stack(expected))


@pytest.mark.parametrize(("rows", "strokes"), [(1, 2), (4, 5), (4, 0)])
def test_strokes_that_rows_cannot_tell_apart_are_refused(rows: int, strokes: int) -> None:
    with pytest.raises(ValueError, match=f"strokes={strokes} for maps of {rows} rows.*Lower it"):
        TypesetPreprocessor((rows, 16), strokes=strokes)


def test_padding_is_said_where_images_have_some() -> None:
    data = TypesetPreprocessor((1, 32), character_width=2.0)(batch(["abc", "z" * 30]))
    ratios = typeset(torch.tensor([3, 30]), (1, 32), False, 2.0)[1].tolist()
    assert [x.valid_ratio for x in data["data_samples"]] == ratios
    assert ratios[0] < 0.25
    assert ratios[1] == 1


def test_validation_is_the_same_each_time_and_training_is_not() -> None:
    preprocess = TypesetPreprocessor((2, 16))
    one, other = (preprocess(batch(["abc"]))["inputs"] for _ in range(2))
    torch.testing.assert_close(one, other, rtol=0, atol=0)
    one, other = (preprocess(batch(["abc"]), training=True)["inputs"] for _ in range(2))
    assert not torch.allclose(one, other)


def test_features_do_not_tell_places_in_training() -> None:
    torch.manual_seed(0)
    preprocess = TypesetPreprocessor((1, 64), noise=0.0, blur=0.0)
    seen = set()
    for _ in range(20):
        maps = preprocess(batch(["aaaa", "aaaa"]), training=True)["inputs"]
        first = maps[0, maps[0, :, 0] > 0.99][0]
        seen.add(round(first[-1].item() * 100))
    assert seen == {1, 2, 3, 4}


def test_noise_is_as_strong_as_asked() -> None:
    torch.manual_seed(0)
    words = ["abcdef"] * 400
    maps = TypesetPreprocessor((1, 32), noise=30.0, blur=0.0)(batch(words), training=True)["inputs"]
    scale = batch(words[:1])["inputs"][0][1:7].square().mean().sqrt()
    strength = maps[:, :, 40:60].std(dim=(1, 2)) / scale  # channels of no character
    assert strength.min() > 0.25
    assert 20 < strength.max() < 33
    assert (strength < 3).float().mean().item() == pytest.approx(0.5, abs=0.08)


def test_clusters_are_characters() -> None:
    text = "হ্যালো"  # two of them
    memory = torch.zeros(5, WIDTH)
    memory[1, 0] = memory[2, 1] = 1
    samples = [sample(text, memory_length=5, token_ids=np.array([-1, -7, -8, 262, 49407]))]
    maps = TypesetPreprocessor((1, 8))({"inputs": [memory], "data_samples": samples})["inputs"]
    assert maps[0, 1, 0] > 0.9
    assert maps[0, 6, 1] > 0.9


def test_hebrew_runs_from_right_to_left() -> None:
    text = "של3"
    memory = torch.zeros(6, WIDTH)
    memory[1, 0] = memory[2, 1] = memory[3, 2] = 1
    samples = [sample(text, memory_length=6, token_ids=np.array([-1, -7, -8, 5, 262, 49407]))]
    maps = TypesetPreprocessor((1, 9))({"inputs": [memory], "data_samples": samples})["inputs"]
    assert maps[0, [1, 4, 7]][:, :3].argmax(dim=1).tolist() == [2, 1, 0]


def test_memories_of_pieces_are_refused() -> None:
    data = batch(["ab"])
    data["inputs"] = [data["inputs"][0][:2]]
    with pytest.raises(ValueError, match=r"'ab' has 2 slots, .*--spelling characters"):
        TypesetPreprocessor((1, 16))(data)
