# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.registry import init_default_scope
from mmocr.registry import DATASETS
from torch.utils.data import DataLoader

from mmdptr.clip import CLIPTextEncoder, Prompt, load_clip
from mmdptr.datasets import LabelFilter, TextEmbeddingDataset, concat_collate
from mmdptr.embeddings import ORPBank, TextEmbeddingStore
from mmdptr.engine.pretrain_config import build_pretrain_config, fingerprint
from mmdptr.extraction import LiveTextEmbeddings, extract_text_embeddings
from tests.builders import nrtr

WORDS = ["hello", "sun", "trust", "a", "2024", "don't", "incomprehensible", "x-ray", "s", "sun"]
CLIP = {"model": "mmdptr-tiny", "pretrained": "random"}
SPELLED = {"spelling": "characters"}


@pytest.fixture
def words(tmp_path: Path) -> str:
    (tmp_path / "words.txt").write_text("\n".join([*WORDS, "x" * 3000]))
    return str(tmp_path / "words.txt")


def live(words: str, **settings: Any) -> LiveTextEmbeddings:
    return LiveTextEmbeddings([words], CLIP, label_filter={"max_length": None}, **settings)


@pytest.mark.parametrize("with_prefix", [False, True])
@pytest.mark.parametrize(
    "settings", [{}, SPELLED, {"keep_padding": True}, {"joint_space": True}], ids=str
)
def test_memories_are_those_of_a_store(
    words: str, tmp_path: Path, settings: dict[str, Any], with_prefix: bool
) -> None:
    ours = live(words, **settings)
    prompt = Prompt(spelling=settings.get("spelling", "word"))
    towers = {key: value for key, value in settings.items() if key != "spelling"}
    encoder = CLIPTextEncoder(load_clip(**CLIP), prompt, **towers)
    extract_text_embeddings([words], tmp_path / "store", encoder, LabelFilter(max_length=None))
    store = TextEmbeddingStore(tmp_path / "store")
    assert ours.labels() == store.labels() == WORDS[:-1]
    assert (len(ours), ours.width) == (len(store), store.width)
    assert ours.keeps_padding == store.keeps_padding
    assert ours.label(3) == store.label(3)
    for key in ("num_labels", "max_label_length", "characters"):
        assert ours.manifest[key] == store.manifest[key]
    # In the batch that the store was written from: the same bits.
    together = range(len(ours))
    found, expected = (x.memories(together, with_prefix) for x in (ours, store))
    for (memory, _), (memory_there, _) in zip(found, expected, strict=True):
        assert torch.equal(memory, memory_there)
    indices = [3, 0, 8, 8, 5]
    found, expected = (x.memories(indices, with_prefix) for x in (ours, store))
    for (memory, ids), (memory_there, ids_there) in zip(found, expected, strict=True):
        # Other labels in the batch change the last bits of float32, which cancellation shows in
        # components that are near zero; largest components are about 1.
        torch.testing.assert_close(memory, memory_there, rtol=2**-10, atol=1e-5)
        assert ids.dtype == ids_there.dtype
        assert ids.tolist() == ids_there.tolist()


def test_dataset_and_loader_read_it_like_a_store(words: str) -> None:
    init_default_scope("mmocr")
    config = {"corpora": [words], "clip": CLIP, "label_filter": {"max_length": None}}
    dataset = DATASETS.build(
        {
            "type": "TextEmbeddingDataset",
            "embeddings": config,
            "split": "all",
            "pipeline": [{"type": "PackTextEmbeddings"}],
        }
    )
    assert isinstance(dataset, TextEmbeddingDataset)
    batch = next(iter(DataLoader(dataset, batch_size=5, collate_fn=concat_collate)))
    lengths = [x.memory_length for x in batch["data_samples"]]
    assert len(batch["inputs"]) == sum(lengths)
    assert [x.gt_text.item for x in batch["data_samples"]] == WORDS[:5]


def test_one_clip_serves_all_who_use_the_same(words: str) -> None:
    config = {"corpora": [words], "clip": CLIP}
    one, two = LiveTextEmbeddings.shared(**config), LiveTextEmbeddings.shared(**config)
    assert one is two
    assert LiveTextEmbeddings.shared(**one.config) is one
    assert LiveTextEmbeddings.shared(**config, **SPELLED) is not one
    del one, two
    gc.collect()
    assert not LiveTextEmbeddings._shared


def test_stage_1_is_configured_for_it(words: str, orp_bank: Path) -> None:
    def configure(**settings: Any) -> tuple[Any, str]:
        ours, bank = live(words, **settings), ORPBank(orp_bank)
        cfg = build_pretrain_config(nrtr(), ours, bank)
        return cfg, fingerprint(cfg, ours, bank)

    cfg, key = configure()
    assert cfg.model.embed_dims == 256
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        assert loader.num_workers == 0
        assert not loader.persistent_workers
        assert loader.dataset.embeddings["corpora"] == [words]
    assert configure()[1] == key
    assert configure(**SPELLED)[1] != key


def test_no_label_left_is_said(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("\n \n")
    with pytest.raises(ValueError, match=r"No label of the corpora can be used"):
        LiveTextEmbeddings([str(tmp_path / "words.txt")], CLIP)
