# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import FUNCTIONS
from mmocr.registry import TRANSFORMS
from torch import Tensor
from torch.utils.data import DataLoader

from mmdptr.datasets import ORP, PackTextEmbeddings, TextEmbeddingDataset, concat_collate
from mmdptr.models import TextEmbeddingPreprocessor
from tests.builders import WIDTH, sample, words, write_bank, write_store


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bank(tmp_path_factory.mktemp("banks") / "bank")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("stores") / "store", words(40))


def results(length: int = 9, clip: str = "a", width: int = WIDTH) -> dict[str, Any]:
    embedding = torch.randn(length, width, generator=torch.Generator().manual_seed(3)).half()
    ids = torch.arange(length, dtype=torch.int32)
    return {"embedding": embedding, "token_ids": ids, "clip": clip, "text": "dog"}


def noise_of(orp: ORP, length: int = 9) -> tuple[list[float], list[float]]:
    """Numbers of the images and of the positions that were added."""
    item = results(length)
    before = item["embedding"].float()
    noise = (orp(item)["embedding"] - before) / orp.scale
    torch.testing.assert_close(noise, noise.round(), atol=0.02, rtol=0)
    noise = noise.round()
    assert (noise[:, 1:] == noise[:, 1:2]).all()
    return noise[:, 0].tolist(), noise[:, 1].tolist()


def test_noise_is_of_one_image_at_distinct_positions(bank: Path) -> None:
    orp = TRANSFORMS.build({"type": "ORP", "bank": str(bank), "scale": 0.5})
    pictures, places = [], []
    for _ in range(100):
        images, positions = noise_of(orp)
        assert len(set(images)) == 1
        assert len(set(positions)) == 9
        assert all(0 <= x < 20 for x in images)
        assert all(0 <= x < 197 for x in positions)
        pictures.append(images[0])
        places.append(tuple(positions))
    assert len(set(pictures)) > 15  # each sample has its own image
    assert len(set(places)) == 100  # and positions
    assert max(map(max, places)) > 180
    assert any(list(x) != sorted(x) for x in places)


def test_scale_weighs_the_noise_in_float32(bank: Path) -> None:
    item = results()
    expected = item["embedding"].float()
    assert torch.equal(ORP(str(bank), scale=0.0)(item)["embedding"], expected)
    one, ten = (seeded(bank, scale=x)(results())["embedding"] - expected for x in (0.01, 0.1))
    torch.testing.assert_close(10 * one, ten, rtol=1e-3, atol=1e-3)
    assert ORP(str(bank)).scale == 0.1
    assert one.dtype == torch.float32


def seeded(bank: Path, seed: int = 0, **settings: Any) -> ORP:
    torch.manual_seed(seed)
    orp = ORP(str(bank), **settings)
    orp._generator()
    return orp


def test_what_it_was_given_stays(bank: Path) -> None:
    item = results()
    embedding = item["embedding"]
    before = embedding.clone()
    seeded(bank)(item)
    assert torch.equal(embedding, before)


def test_samples_of_a_batch_get_noise_of_their_own(bank: Path) -> None:
    lengths = [9, 2, 30, 9]
    batch = seeded(bank).transform_batch([results(length) for length in lengths])
    images = []
    for item, length in zip(batch, lengths, strict=True):
        noise = (item["embedding"] - results(length)["embedding"].float()) / 0.1
        assert noise.shape == (length, WIDTH)
        torch.testing.assert_close(noise, noise.round(), atol=0.05, rtol=0)
        assert len(set(noise[:, 0].round().tolist())) == 1
        assert len(set(noise[:, 1].round().tolist())) == length
        images.append(noise[0, 0].round().item())
    assert len(set(images)) > 2
    single = seeded(bank)(results())["embedding"]
    assert torch.equal(seeded(bank).transform_batch([results()])[0]["embedding"], single)


def test_samples_of_a_batch_may_share_the_positions(bank: Path) -> None:
    def positions(**options: Any) -> list[list[float]]:
        orp = ORP(str(bank), scale=1.0, **options)
        batch = orp.transform_batch([results(length=6) for _ in range(40)])
        clean = results(length=6)["embedding"].float()
        noise = torch.stack([x["embedding"] - clean for x in batch]).round()
        assert len(noise[:, 0, 0].unique()) > 1, "of images of their own"
        return noise[:, :, 1].tolist()

    assert len({tuple(x) for x in positions(shared_positions=True)}) == 1
    assert len({tuple(x) for x in positions()}) == 40


def test_the_dataset_gives_batches_to_what_takes_them(store: Path, bank: Path) -> None:
    pipeline = [{"type": "ORP", "bank": str(bank)}, {"type": "PackTextEmbeddings"}]
    dataset = TextEmbeddingDataset(str(store), pipeline)
    calls = []
    orp = dataset.pipeline.transforms[0]
    orp.transform_batch = lambda batch: (
        calls.append(len(batch)) or type(orp).transform_batch(orp, batch)
    )
    assert [x["data_samples"].sample_idx for x in dataset.__getitems__([3, 1])] == [
        dataset.indices[3],
        dataset.indices[1],
    ]
    assert calls == [2]


def test_bank_may_be_smaller_than_the_batch(tmp_path: Path) -> None:
    orp = ORP(str(write_bank(tmp_path / "bank", images=3)))
    assert {noise_of(orp)[0][0] for _ in range(64)} == {0.0, 1.0, 2.0}


def test_memory_may_be_longer_than_an_image_has_tokens(tmp_path: Path) -> None:
    """ViT-B/32 has 50 tokens, the paper's memory 78."""
    orp = ORP(str(write_bank(tmp_path / "bank", tokens=50)), scale=0.5)
    images, positions = noise_of(orp, 78)
    assert len(set(images)) == 1
    assert set(positions) <= set(map(float, range(50)))
    assert len(set(noise_of(orp, 50)[1])) == 50


def test_other_clip_is_refused(bank: Path) -> None:
    with pytest.raises(ValueError, match=r"written by another CLIP \(fake, random\).*--model"):
        ORP(str(bank))(results(clip="b"))


def test_other_width_says_joint_space(bank: Path) -> None:
    with pytest.raises(ValueError, match=f"width 48, the ORP bank {WIDTH}.*--joint-space"):
        ORP(str(bank))(results(width=48))


def test_missing_bank_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no_bank holds no manifest"):
        ORP(str(tmp_path / "no_bank"))


def test_seed_decides(bank: Path) -> None:
    first, again, other = (
        [noise_of(orp) for _ in range(5)] for orp in map(seeded, [bank] * 3, [0, 0, 1])
    )
    assert first == again != other


def test_ranks_draw_different_noise(bank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    for rank in (0, 1, 1):
        monkeypatch.setattr("mmdptr.datasets.transforms.orp.get_rank", lambda rank=rank: rank)
        orp = seeded(bank)
        drawn.append([noise_of(orp) for _ in range(5)])
    assert drawn[0] != drawn[1] == drawn[2]


def noise_of_workers(store: Path, bank: Path, seed: int, used: bool) -> list[Sequence[float]]:
    """The noise of six visits of one label, by two forked workers in turn, in two epochs."""
    orp = {"type": "ORP", "bank": str(bank), "scale": 1.0}
    dataset = TextEmbeddingDataset(str(store), [orp], split="all")
    before = dataset.store.memory(5).float()
    if used:  # the generator of the training process must not be inherited
        dataset[5]
    torch.manual_seed(seed)
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_size=1,
        sampler=[5] * 6,
        num_workers=2,
        multiprocessing_context="fork",
        collate_fn=lambda batch: batch[0]["embedding"],
    )
    return [(noise - before).round().flatten().tolist() for _ in range(2) for noise in loader]


@pytest.mark.parametrize("used", [False, True])
def test_workers_and_epochs_draw_different_noise(store: Path, bank: Path, used: bool) -> None:
    noise = noise_of_workers(store, bank, seed=0, used=used)
    assert len(noise) == 12
    assert all(x != y for i, x in enumerate(noise) for y in noise[:i])
    assert noise_of_workers(store, bank, seed=0, used=used) == noise
    assert noise_of_workers(store, bank, seed=1, used=used) != noise


def test_it_travels_to_a_spawned_worker(bank: Path) -> None:
    orp = seeded(bank)
    orp(results())
    copy = pickle.loads(pickle.dumps(orp))
    assert len(copy.bank) == 20
    noise_of(copy)
    assert len(pickle.dumps(orp)) < 5000  # not the features
    assert repr(orp) == f"ORP(bank='{bank}', scale=0.1, shared_positions=False)"


def test_extracted_store_and_bank_fit(text_store: Path, orp_bank: Path) -> None:
    pipeline = [{"type": "ORP", "bank": str(orp_bank)}, {"type": "PackTextEmbeddings"}]
    plain = TextEmbeddingDataset(str(text_store), [{"type": "PackTextEmbeddings"}])
    noisy = TextEmbeddingDataset(str(text_store), pipeline)
    difference = noisy[0]["inputs"] - plain[0]["inputs"]
    assert difference.shape == plain[0]["inputs"].shape
    assert difference.abs().max() > 0


def test_packing() -> None:
    packed = PackTextEmbeddings()({**results(), "sample_idx": 4})
    assert sorted(packed) == ["data_samples", "inputs"]
    assert packed["inputs"].dtype == torch.float32
    assert torch.equal(packed["inputs"], results()["embedding"].float())
    done = packed["data_samples"]
    assert done.gt_text.item == "dog"
    assert done.memory_length == 9
    assert done.token_ids.tolist() == list(range(9))
    assert done.sample_idx == 4


def test_concat_collate_joins_what_the_preprocessor_takes_apart() -> None:
    collate = FUNCTIONS.get("concat_collate")
    assert collate is concat_collate
    lengths = (3, 1, 5)
    batch = [
        {"inputs": torch.randn(n, 4), "data_samples": sample(str(n), memory_length=n)}
        for n in lengths
    ]
    data = collate(batch)
    assert data["inputs"].shape == (9, 4)
    joined, apart = map(TextEmbeddingPreprocessor(), (data, pseudo_collate(batch)))
    assert isinstance(joined["inputs"], Tensor)
    assert torch.equal(joined["inputs"], apart["inputs"])
    assert [x.gt_text.item for x in joined["data_samples"]] == ["3", "1", "5"]
