# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from mmdptr.embeddings import DamagedStoreError, ORPBank, ORPBankWriter

TOKENS = 7


def write(folder: Path, sizes: Sequence[int]) -> Path:
    """Token t of image i is [i, t, i + t]."""
    with ORPBankWriter(folder, {}) as writer:
        image = 0
        for number, size in enumerate(sizes):
            i = torch.arange(image, image + size).view(-1, 1).expand(size, TOKENS)
            t = torch.arange(TOKENS).expand(size, TOKENS)
            features = torch.stack([i, t, i + t], dim=-1) if size else torch.empty(0, 0, 0)
            writer.add_images(f"images-{number:05d}", features)
            image += size
        writer.finish()
    return folder


@pytest.fixture
def bank(tmp_path):
    # Some shards hold nothing: none of their files was an image.
    return ORPBank(write(tmp_path / "bank", [0, 3, 0, 2, 0]))


def test_features_are_read_back(bank):
    assert (len(bank), bank.num_tokens, bank.width) == (5, TOKENS, 3)
    for image in range(5):
        for positions in ([0], [6, 2, 2], range(TOKENS), np.array([1, 0])):
            found = bank.tokens(image, positions)
            assert found.dtype == torch.float16
            assert found.tolist() == [[image, t, image + t] for t in positions]


def test_sample_is_of_one_image_without_repetition(bank):
    rng = np.random.default_rng(0)
    for _ in range(50):
        images, positions, _ = bank.sample([5], rng).T.int().tolist()
        assert len(set(images)) == 1
        assert len(set(positions)) == 5


def test_every_token_of_every_image_is_drawn_equally_often(bank):
    rng = np.random.default_rng(0)
    counts = torch.zeros(5, TOKENS)
    for _ in range(2000):
        images, positions, _ = bank.sample([4], rng).T.long()
        counts[images, positions] += 1
    expected = 2000 * 4 / (5 * TOKENS)
    assert (counts - expected).abs().max() < 6 * expected**0.5


def test_labels_of_a_batch_have_images_of_their_own(bank):
    rng = np.random.default_rng(0)
    lengths = [3, TOKENS + 2, 1, 5]
    together, together_with_next = set(), 0
    for _ in range(200):
        found = bank.sample(lengths, rng).split(lengths)
        drawn = [set(noise[:, 0].tolist()) for noise in found]
        assert all(len(images) == 1 for images in drawn)
        together.add(tuple(images.pop() for images in drawn))
        # Labels share no positions but by chance.
        together_with_next += torch.equal(found[0][:, 1], found[3][:3, 1])
        assert len(found[0].unique(dim=0)) == 3
        assert len(found[1].unique(dim=0)) == TOKENS
    assert len(together) > 150  # of 5^4 combinations
    assert together_with_next < 10  # 1 / (7 * 6 * 5) of 200 are expected


def test_a_batch_is_drawn_as_equally_as_single_labels(bank):
    rng = np.random.default_rng(1)
    counts = torch.zeros(5, TOKENS)
    for _ in range(100):
        images, positions, _ = bank.sample([2, 4, 6] * 10, rng).T.long()
        counts.index_put_((images, positions), torch.ones(len(images)), accumulate=True)
    expected = 100 * 120 / (5 * TOKENS)
    # Tokens of one image are drawn together, so that they vary by more than a Poisson number.
    assert (counts - expected).abs().max() < 10 * expected**0.5
    by_position = counts.sum(0)
    assert (by_position - by_position.mean()).abs().max() < 5 * by_position.mean() ** 0.5


def test_positions_are_in_random_order(bank):
    rng = np.random.default_rng(0)
    first = [int(bank.sample([TOKENS], rng)[0, 1]) for _ in range(300)]
    assert set(first) == set(range(TOKENS))


@pytest.mark.parametrize("length", [TOKENS, TOKENS + 1, 78])
def test_more_than_the_tokens_of_an_image_repeats_some(bank, length):
    found = bank.sample([length], np.random.default_rng(0))
    assert found.shape == (length, 3)
    assert len(found.unique(dim=0)) <= TOKENS


def test_same_seed_gives_the_same_sample(bank):
    a, b, c = (bank.sample([4], np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_three_images_serve_any_batch(tmp_path):
    bank = ORPBank(write(tmp_path / "bank", [3]))
    rng = np.random.default_rng(0)
    batch = torch.stack([bank.sample([6], rng) for _ in range(64)])
    assert set(batch[:, 0, 0].tolist()) == {0, 1, 2}


def test_pickle_holds_no_features(orp_bank):
    bank = ORPBank(orp_bank)
    data = pickle.dumps(bank)
    assert len(data) < 5_000
    again = pickle.loads(data)
    assert torch.equal(again.tokens(4, range(50)), bank.tokens(4, range(50)))


@pytest.mark.parametrize("sizes", [[], [0, 0]])
def test_empty_bank_is_refused(tmp_path, sizes):
    with pytest.raises(ValueError, match="bank holds no image"):
        ORPBank(write(tmp_path / "bank", sizes))


@pytest.mark.parametrize("value", [float("nan"), 1e6])
def test_values_that_are_not_finite_are_refused(tmp_path, value):
    features = torch.zeros(1, 2, 3)
    features[0, 1, 2] = value
    with ORPBankWriter(tmp_path / "bank", {}) as writer:
        with pytest.raises(ValueError, match="not finite in float16"):
            writer.add_images("x", features)
        assert not writer.has("x")


def test_store_is_no_bank(text_store):
    with pytest.raises(ValueError, match="holds text_embeddings, expected orp_bank"):
        ORPBank(text_store)


def test_missing_bank_names_the_tool(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"tools/extract_orp_bank\.py"):
        ORPBank(tmp_path / "nothing")


@pytest.mark.parametrize("position", [3, 60, -1])  # length of the header, header, features
@pytest.mark.parametrize("name", ["images-00000", "images-00001"])
def test_flipped_byte_is_found(orp_bank, tmp_path, name, position):
    shutil.copytree(orp_bank, tmp_path / "copy")
    path = tmp_path / "copy" / f"{name}.safetensors"
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedStoreError, match=rf"{name}\.safetensors is damaged"):
        ORPBank(tmp_path / "copy")
