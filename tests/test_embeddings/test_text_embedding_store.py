# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import multiprocessing
import pickle
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmdptr.embeddings import (
    DamagedStoreError,
    TextEmbeddingStore,
    TextEmbeddingWriter,
    text_embedding_store,
)
from mmdptr.embeddings.precision import quantize
from mmdptr.embeddings.text_embedding_store import POOLED

WIDTH = 5
PREFIX = torch.arange(6 * WIDTH).view(6, WIDTH) / 10
PREFIX_IDS = torch.tensor([49406, 320, 1125, 539, 320, 262])
SHARDS = [
    ["hello", "Straße", "日本語"],
    ["x", "naïve", "😀", "a b", " lead", "e\u0301", "next\x85line", "para\u2029graph", "न\u200dd"],
    [],  # nothing of it fitted into CLIP's context
    ["last"],
]
LABELS = [label for shard in SHARDS for label in shard]


def lengths(label: str) -> tuple[int, int]:
    """Own and prefix tokens; both differ from label to label."""
    return len(label.encode()) % 7 + 1, 6 - len(label) % 2


def token_ids(label: str) -> list[int]:
    return [100 * len(label) + i for i in range(lengths(label)[0])]


def features(label: str) -> Tensor:
    """Pooled feature and own tokens, recognisable: row i begins with i."""
    generator = torch.Generator().manual_seed(sum(label.encode()))
    rows = torch.randn(1 + lengths(label)[0], WIDTH, generator=generator).half()
    rows[:, 0] = torch.arange(len(rows))
    return rows


def add(writer: TextEmbeddingWriter, name: str, labels: Sequence[str]) -> None:
    rows = [features(label) for label in labels]
    writer.add_labels(
        name,
        labels,
        torch.cat([torch.empty(0, WIDTH), *(r[:1].float() for r in rows)]),
        torch.cat([torch.empty(0, WIDTH), *(r[1:].float() for r in rows)]),
        torch.tensor([lengths(label)[0] for label in labels], dtype=torch.long),
        torch.tensor([lengths(label)[1] for label in labels], dtype=torch.long),
        torch.tensor([i for label in labels for i in token_ids(label)], dtype=torch.long),
    )


def write(folder: Path, shards: Sequence[Sequence[str]] = SHARDS, **source: Any) -> Path:
    with TextEmbeddingWriter(folder, {"keep_padding": False, **source}) as writer:
        for i, shard in enumerate(shards):
            add(writer, f"labels-{i:05d}", shard)
        writer.add_prefix(PREFIX, PREFIX_IDS)
        writer.finish()
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("stores") / "store")


@pytest.fixture(scope="module")
def store(folder):
    return TextEmbeddingStore(folder)


def test_memories_are_read_back(store):
    assert len(store) == len(LABELS)
    for index, label in enumerate(LABELS):
        memory = store.memory(index)
        assert memory.dtype == torch.float16
        assert torch.equal(memory, features(label))


def test_labels_are_read_back(store):
    assert store.labels() == LABELS
    assert [store.label(i) for i in range(len(store))] == LABELS


def test_lengths_are_read_back(store):
    for index, label in enumerate(LABELS):
        own, prefix = lengths(label)
        assert len(store.memory(index)) == 1 + own
        assert len(store.memory(index, with_prefix=True)) == 1 + prefix + own


def test_prefix_stands_between_pooled_and_own_tokens(store):
    for index, label in enumerate(LABELS):
        own, prefix = features(label), PREFIX[: lengths(label)[1]].half()
        expected = torch.cat([own[:1], prefix, own[1:]])
        assert torch.equal(store.memory(index, with_prefix=True), expected)


def test_token_ids_name_the_slots_of_the_memory(store):
    for index, label in enumerate(LABELS):
        assert store.token_ids(index).tolist() == [POOLED, *token_ids(label)]
        prefix = PREFIX_IDS[: lengths(label)[1]].tolist()
        whole = store.token_ids(index, with_prefix=True)
        assert whole.tolist() == [POOLED, *prefix, *token_ids(label)]
        assert len(whole) == len(store.memory(index, with_prefix=True))


def test_prefix_is_stored_once(folder, store):
    assert torch.equal(store.prefix, PREFIX.half())
    assert store.width == WIDTH
    stored = sum(len(features(label)) for label in LABELS) + len(PREFIX)
    sizes = [entry["bytes"] for entry in store.manifest["files"].values()]
    assert sum(sizes) < (2 * WIDTH + 4) * stored + 500 * len(sizes)


@pytest.mark.parametrize("keep_padding", [False, True])
def test_padding_is_known(tmp_path, keep_padding):
    store = TextEmbeddingStore(write(tmp_path / "store", keep_padding=keep_padding))
    assert store.keeps_padding is keep_padding


def test_memory_is_a_copy(store):
    store.memory(0).fill_(9)
    store.memory(0, with_prefix=True).fill_(9)
    assert torch.equal(store.memory(0), features(LABELS[0]))
    assert torch.equal(store.prefix, PREFIX.half())


def test_spawned_worker_reads_the_same(store):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.map(store.memory, [0, len(LABELS) - 1])
    assert torch.equal(found[0], features(LABELS[0]))
    assert torch.equal(found[1], features(LABELS[-1]))


def test_pickle_holds_no_features(text_store):
    store = TextEmbeddingStore(text_store)
    data = pickle.dumps(store)
    assert len(data) < 10_000
    again = pickle.loads(data)
    assert again.labels() == store.labels()
    assert torch.equal(again.memory(199, True), store.memory(199, True))


@pytest.mark.parametrize("shards", [[], [[]], [[], []]])
def test_empty_store_is_refused(tmp_path, shards):
    with pytest.raises(ValueError, match="store holds no label"):
        TextEmbeddingStore(write(tmp_path / "store", shards))


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=9), max_size=4),
        min_size=1,
        max_size=4,
    ).filter(any)
)
def test_any_labels_are_read_back(tmp_path, shards):
    shutil.rmtree(tmp_path / "any", ignore_errors=True)
    store = TextEmbeddingStore(write(tmp_path / "any", shards))
    labels = [label for shard in shards for label in shard]
    assert store.labels() == labels
    for index, label in enumerate(labels):
        assert store.label(index) == label
        assert torch.equal(store.memory(index), features(label))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 70_000.0])
@pytest.mark.parametrize("where", ["pooled", "tokens", "prefix"])
def test_values_that_are_not_finite_are_refused(tmp_path, where, value):
    content = {
        "pooled": torch.zeros(2, 4),
        "tokens": torch.zeros(3, 4),
        "prefix": torch.zeros(6, 4),
    }
    content[where][1, 2] = value
    counts = torch.tensor([1, 2])
    with TextEmbeddingWriter(tmp_path / "store", {}) as writer:
        with pytest.raises(ValueError, match=r"not finite in float16.*--precision fp32"):  # noqa: PT012
            writer.add_prefix(content["prefix"], PREFIX_IDS)
            own = [content["pooled"], content["tokens"], counts, counts, torch.arange(3)]
            writer.add_labels("x", ["a", "b"], *own)
        assert not writer.has("x")


def test_different_widths_name_the_way_out(tmp_path):
    one = torch.tensor([1])
    with (
        TextEmbeddingWriter(tmp_path / "store", {}) as writer,
        pytest.raises(ValueError, match=r"width 4, the tokens 8.*--joint-space"),
    ):
        writer.add_labels("x", ["a"], torch.zeros(1, 4), torch.zeros(1, 8), one, one, one)


def test_bank_is_no_store(orp_bank):
    with pytest.raises(ValueError, match="holds orp_bank, expected text_embeddings"):
        TextEmbeddingStore(orp_bank)


def test_missing_store_names_the_tool(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"tools/extract_text_embeddings\.py"):
        TextEmbeddingStore(tmp_path)


def test_interrupted_store_is_refused(tmp_path):
    with TextEmbeddingWriter(tmp_path / "store", {"keep_padding": False}) as writer:
        add(writer, "labels-00000", ["a"])
    with pytest.raises(ValueError, match="store is not complete"):
        TextEmbeddingStore(tmp_path / "store")


@pytest.mark.parametrize("name", ["prefix", "labels-00001"])
@pytest.mark.parametrize("verify", [True, False])
def test_missing_file_is_named(folder, tmp_path, name, verify):
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / f"{name}.safetensors").unlink()
    with pytest.raises(DamagedStoreError, match=rf"{name}\.safetensors is missing"):
        TextEmbeddingStore(tmp_path / "copy", verify)


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_flipped_byte_is_found(folder, store, tmp_path, data):
    copy = tmp_path / "copy"
    if not copy.exists():
        shutil.copytree(folder, copy)
    path = data.draw(st.sampled_from(sorted(copy.iterdir())))
    good = path.read_bytes()
    position = data.draw(st.integers(0, len(good) - 1))
    flipped = good[position] ^ data.draw(st.integers(1, 255))
    path.write_bytes(good[:position] + bytes([flipped]) + good[position + 1 :])
    try:
        manifest = TextEmbeddingStore(copy).manifest
    except DamagedStoreError as error:
        named = str(error)
    else:
        # Only the white space of the manifest may change.
        named = path.name if path.name == "manifest.json" and manifest == store.manifest else ""
    finally:
        path.write_bytes(good)
    assert path.name in named


def test_label_hashes_are_crc32(store):
    assert store.label_hashes().tolist() == [zlib.crc32(label.encode()) for label in LABELS]


def test_int8_keeps_each_row_to_half_a_step(tmp_path, store):
    with TextEmbeddingWriter(tmp_path / "int8", {"keep_padding": False}, int8=True) as writer:
        add(writer, "labels-00000", LABELS)
        writer.add_prefix(PREFIX, PREFIX_IDS)
        writer.finish()
    int8 = TextEmbeddingStore(tmp_path / "int8")
    for index in range(len(store)):
        found, expected = int8.memory(index), store.memory(index)
        assert found.dtype == torch.float16
        step = expected.float().abs().amax(dim=1, keepdim=True) / 127
        # A value is rounded to a step, then to float16.
        assert ((found.float() - expected.float()).abs() <= 0.5 * step + 2**-10 * 127 * step).all()
        assert torch.equal(int8.token_ids(index, True), store.token_ids(index, True))
    assert not torch.equal(int8.memory(0), store.memory(0))


def test_rows_of_zeros_survive_int8(tmp_path):
    zeros = quantize(torch.zeros(2, WIDTH).half())
    assert not (zeros["features"] * zeros["scales"][:, None]).any()
    assert zeros["scales"].isfinite().all()


def test_more_shards_than_files_may_be_open(tmp_path, monkeypatch):
    monkeypatch.setattr(text_embedding_store, "OPEN_FILES", 2)
    store = TextEmbeddingStore(write(tmp_path / "store", [[label] for label in LABELS]))
    for _ in range(2):
        for memory, label in zip(
            store.memories(range(len(LABELS)))[::-1], LABELS[::-1], strict=True
        ):
            assert torch.equal(memory[0], features(label))
