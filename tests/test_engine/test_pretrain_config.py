# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config, ConfigDict

import mmdptr
from mmdptr.embeddings import ORPBank, TextEmbeddingStore
from mmdptr.engine import pretrain_config
from mmdptr.engine.pretrain_config import build_pretrain_config, config_folder, fingerprint
from tests.builders import (
    CHARACTERS,
    DICT_FILE,
    WIDTH,
    dictionary,
    nrtr,
    nrtr_decoder,
    words,
    write_bank,
    write_store,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TextEmbeddingStore:
    return TextEmbeddingStore(write_store(tmp_path_factory.mktemp("s") / "words", words(50)))


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> ORPBank:
    return ORPBank(write_bank(tmp_path_factory.mktemp("b") / "bank"))


def test_stage_1_has_the_recognizers_own_decoder(store: TextEmbeddingStore, bank: ORPBank) -> None:
    recognizer = nrtr(memory="NRTRDecoder")
    before = copy.deepcopy(recognizer)
    cfg = build_pretrain_config(ConfigDict(recognizer), store, bank)
    assert cfg.model.type == "DPTRPretrainer"
    assert cfg.model.decoder.to_dict() == before["decoder"]
    assert cfg.model.embed_dims == WIDTH
    assert cfg.model.memory == "NRTRDecoder"
    assert recognizer == before


@pytest.mark.parametrize("name", ["train", "val"])
def test_data_are_checked_against_the_decoder(
    store: TextEmbeddingStore, bank: ORPBank, name: str
) -> None:
    decoder = nrtr_decoder()
    dataset = build_pretrain_config(nrtr(), store, bank)[f"{name}_dataloader"].dataset
    assert dataset.embeddings == str(store.folder)
    assert dataset.split == name
    assert dataset.dictionary.to_dict() == decoder["dictionary"]
    assert dataset.max_seq_len == decoder["max_seq_len"]
    del decoder["max_seq_len"]  # the class's own
    cfg = build_pretrain_config(nrtr(decoder=decoder), store, bank)
    assert cfg[f"{name}_dataloader"].dataset.max_seq_len == 30


def test_noise_is_for_training_only_and_optional(store: TextEmbeddingStore, bank: ORPBank) -> None:
    def steps(cfg: Config, name: str) -> list[dict[str, Any]]:
        return [step.to_dict() for step in cfg[f"{name}_dataloader"].dataset.pipeline]

    cfg = build_pretrain_config(nrtr(), store, bank)
    assert [step["type"] for step in steps(cfg, "train")] == ["ORP", "PackTextEmbeddings"]
    assert steps(cfg, "train")[0]["bank"] == str(bank.folder)
    assert steps(cfg, "train")[0]["scale"] == 0.1
    assert [step["type"] for step in steps(cfg, "val")] == ["PackTextEmbeddings"]
    cfg = build_pretrain_config(nrtr(), store, bank, noise_scale=0.0)
    assert steps(cfg, "train")[0]["scale"] == 0
    cfg = build_pretrain_config(nrtr(), store, None)
    assert [step["type"] for step in steps(cfg, "train")] == ["PackTextEmbeddings"]


@pytest.mark.parametrize(("epochs", "ends"), [(None, [1, 20]), (4, [1, 4]), (2, [1, 2]), (1, [1])])
def test_schedule_ends_with_the_epochs(
    store: TextEmbeddingStore, epochs: int | None, ends: list[int]
) -> None:
    cfg = build_pretrain_config(nrtr(), store, None, epochs=epochs)
    assert cfg.train_cfg.max_epochs == (epochs or 20)
    assert [scheduler["end"] for scheduler in cfg.param_scheduler] == ends


def test_settings_by_name_win(store: TextEmbeddingStore, bank: ORPBank) -> None:
    options = {
        "optim_wrapper.optimizer.lr": 1e-3,
        "train_cfg.max_epochs": 7,
        "train_dataloader.dataset.pipeline.0.scale": 0.3,
        "model.init_cfg": None,
    }
    cfg = build_pretrain_config(nrtr(), store, bank, None, options, epochs=5)
    assert cfg.optim_wrapper.optimizer.lr == 1e-3
    assert cfg.train_cfg.max_epochs == 7
    assert cfg.train_dataloader.dataset.pipeline[0].scale == 0.3
    assert cfg.model.decoder.type == "NRTRDecoder"


def test_config_of_ones_own(store: TextEmbeddingStore, tmp_path: Path) -> None:
    base = config_folder() / "_base_" / "dptr_pretrain.py"
    own = tmp_path / "own.py"
    preprocessor = "dict(type='TextEmbeddingPreprocessor', num_slots=12)"
    own.write_text(
        f"_base_ = ['{base}']\n"
        "train_dataloader = dict(batch_size=8)\n"
        f"model = dict(data_preprocessor={preprocessor})\n"
    )
    cfg = build_pretrain_config(nrtr(), store, None, str(own))
    assert cfg.train_dataloader.batch_size == 8
    assert cfg.model.data_preprocessor.num_slots == 12
    assert cfg.model.type == "DPTRPretrainer"


ITERATIONS = """
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters={iters}, val_interval=500)
param_scheduler = dict(_delete_=True, type='ConstantLR', factor=0.5, end={iters}, by_epoch=False)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=500))
"""
NO_VALIDATION = "val_dataloader = val_cfg = val_evaluator = None"
ONE_SCHEDULER = "param_scheduler = dict(_delete_=True, type='CosineAnnealingLR', T_max=20)"


def own_config(folder: Path, text: str) -> str:
    base = config_folder() / "_base_" / "dptr_pretrain.py"
    (folder / "own.py").write_text(f"_base_ = ['{base}']\n{text}")
    return str(folder / "own.py")


def test_config_that_counts_iterations(store: TextEmbeddingStore, tmp_path: Path) -> None:
    keys = set()
    for iters in (1000, 1000, 2000):
        own = own_config(tmp_path, ITERATIONS.format(iters=iters))
        cfg = build_pretrain_config(nrtr(), store, None, own)
        keys.add(fingerprint(cfg, store, None))
    assert len(keys) == 2
    with pytest.raises(ValueError, match=r"epochs=5, but .*'max_iters': 2000.*Leave out `epochs`"):
        build_pretrain_config(nrtr(), store, None, own, epochs=5)


def test_config_without_validation(
    store: TextEmbeddingStore, bank: ORPBank, tmp_path: Path
) -> None:
    own = own_config(tmp_path, NO_VALIDATION)
    cfg = build_pretrain_config(nrtr(), store, bank, own)
    assert cfg.val_dataloader is None
    assert fingerprint(cfg, store, bank) == key(store, bank, seed=None)


def test_config_with_one_scheduler(store: TextEmbeddingStore, tmp_path: Path) -> None:
    own = own_config(tmp_path, ONE_SCHEDULER)
    cfg = build_pretrain_config(nrtr(), store, None, own, epochs=4)
    (scheduler,) = cfg.param_scheduler
    assert scheduler["T_max"] == 4
    assert build_pretrain_config(nrtr(), store, None, own).param_scheduler.T_max == 20


def test_config_without_schedulers(store: TextEmbeddingStore, tmp_path: Path) -> None:
    own = own_config(tmp_path, "param_scheduler = None")
    cfg = build_pretrain_config(nrtr(), store, None, own, epochs=4)
    assert cfg.param_scheduler == []
    assert fingerprint(cfg, store, None)


def test_config_needs_data(store: TextEmbeddingStore, tmp_path: Path) -> None:
    (tmp_path / "schedule.py").write_text("train_cfg = dict(max_epochs=2)")
    with pytest.raises(ValueError, match=r"schedule\.py has no train_dataloader.*Begin it with _b"):
        build_pretrain_config(nrtr(), store, None, str(tmp_path / "schedule.py"))


def test_steps_keep_their_places_without_a_bank(store: TextEmbeddingStore, bank: ORPBank) -> None:
    faithful = Config.fromfile(config_folder() / "dptr_parseq_faithful.py")
    options = faithful.custom_hooks[0].cfg_options
    cfg = build_pretrain_config(faithful.model, store, bank, None, options)
    assert cfg.train_dataloader.dataset.pipeline[0].shared_positions
    cfg = build_pretrain_config(faithful.model, store, None, None, options)
    (step,) = cfg.train_dataloader.dataset.pipeline
    assert step == {"type": "PackTextEmbeddings"}


def test_missing_configs_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(mmdptr, "__file__", str(tmp_path / "mmdptr" / "__init__.py"))
    with pytest.raises(FileNotFoundError, match=r"are neither in .*mmdptr/\.mim nor beside"):
        config_folder()
    installed = tmp_path / "mmdptr" / ".mim" / "configs" / "_base_"
    installed.mkdir(parents=True)
    (installed / "dptr_pretrain.py").write_text("")
    assert config_folder() == installed.parent


def key(
    store: TextEmbeddingStore,
    bank: ORPBank | None,
    recognizer: dict[str, Any] | None = None,
    seed: int | None = 0,
    **settings: Any,
) -> str:
    options = settings.pop("cfg_options", {})
    cfg = build_pretrain_config(recognizer or nrtr(), store, bank, None, options, **settings)
    cfg.randomness = {"seed": seed}
    return fingerprint(cfg, store, bank)


def test_paths_do_not_count_but_content_does(
    store: TextEmbeddingStore, bank: ORPBank, tmp_path: Path
) -> None:
    moved_store = TextEmbeddingStore(shutil.copytree(store.folder, tmp_path / "moved"))
    moved_bank = ORPBank(shutil.copytree(bank.folder, tmp_path / "moved bank"))
    shutil.copy(DICT_FILE, tmp_path / "moved.txt")
    decoder = nrtr_decoder(dictionary=dictionary(tmp_path / "moved.txt"))
    moved = key(moved_store, moved_bank, nrtr(decoder=decoder))
    assert moved == key(store, bank)
    assert len(moved) == 64

    other_store = TextEmbeddingStore(write_store(tmp_path / "other", words(51)))
    assert key(other_store, bank) != moved
    other_bank = ORPBank(write_bank(tmp_path / "other bank", images=5))
    assert key(store, other_bank) != moved != key(store, None)
    (tmp_path / "moved.txt").write_text("\n".join(reversed(CHARACTERS)))
    assert key(moved_store, moved_bank, nrtr(decoder=decoder)) != moved


OTHER_RUNS: dict[str, dict[str, Any]] = {
    "depth": {"recognizer": nrtr(decoder=nrtr_decoder(n_layers=2))},
    "length": {"recognizer": nrtr(decoder=nrtr_decoder(max_seq_len=14))},
    "tokens": {"recognizer": nrtr(decoder=nrtr_decoder(dictionary=dictionary(with_end=True)))},
    "layout": {"recognizer": nrtr(memory={"site": "out_enc", "form": "sequence", "width": "x"})},
    "epochs": {"epochs": 3},
    "noise": {"noise_scale": 0.2},
    "seed": {"seed": 1},
    "learning rate": {"cfg_options": {"optim_wrapper.optimizer.lr": 1e-3}},
    "schedule": {"cfg_options": {"param_scheduler.0.start_factor": 0.5}},
    "batch": {"cfg_options": {"train_dataloader.batch_size": 8}},
    "held-out words": {"cfg_options": {"train_dataloader.dataset.holdout": 0.2}},
    "iterations": {"cfg_options": {"train_cfg.max_iters": 9}},
    "averaging": {"cfg_options": {"custom_hooks": [{"type": "EMAHook"}]}},
    "slots": {"cfg_options": {"model.data_preprocessor": {"type": "x", "num_slots": 9}}},
}


@pytest.mark.parametrize("run", OTHER_RUNS.values(), ids=OTHER_RUNS)
def test_every_setting_of_training_counts(
    store: TextEmbeddingStore, bank: ORPBank, run: dict[str, Any]
) -> None:
    assert key(store, bank, **copy.deepcopy(run)) != key(store, bank)


SAME_RUNS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "workers": {"cfg_options": {"train_dataloader.num_workers": 0}},
    "validation": {"cfg_options": {"val_dataloader.batch_size": 1, "train_cfg.val_interval": 5}},
    "logging": {"cfg_options": {"default_hooks.logger.interval": 1}},
    "checkpoints": {"cfg_options": {"default_hooks.checkpoint.max_keep_ckpts": 7}},
    "our own hooks": {"cfg_options": {"custom_hooks": [{"type": "DPTRExportHook"}]}},
    "image side": {"recognizer": nrtr(encoder=None, neck={"type": "FMU"})},
    "spelt out": {"epochs": 20, "noise_scale": 0.1},
}


@pytest.mark.parametrize("run", SAME_RUNS.values(), ids=SAME_RUNS)
def test_what_does_not_change_the_decoder_does_not_count(
    store: TextEmbeddingStore, bank: ORPBank, run: dict[str, Any]
) -> None:
    assert key(store, bank, **copy.deepcopy(run)) == key(store, bank)


def test_another_version_trains_again(
    store: TextEmbeddingStore, bank: ORPBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = key(store, bank)
    monkeypatch.setattr(mmdptr, "__version__", "99.0")
    assert key(store, bank) != before


@pytest.fixture(scope="module")
def spelled_store(tmp_path_factory: pytest.TempPathFactory) -> TextEmbeddingStore:
    folder = tmp_path_factory.mktemp("s") / "spelled"
    return TextEmbeddingStore(write_store(folder, words(50), spelling="characters"))


@pytest.mark.parametrize(
    ("neck", "encoder", "trained", "warned"),
    [
        ({"type": "FMU"}, True, True, False),
        ({"type": "FMU", "num_layers": 2}, True, False, False),  # the encoder is left to see
        ({"type": "FMU", "num_layers": 2}, False, False, False),
        ({"type": "FMU"}, False, False, True),
    ],
)
def test_what_reads_typeset_text(
    neck: dict[str, Any],
    encoder: bool,
    trained: bool,
    warned: bool,
    spelled_store: TextEmbeddingStore,
    bank: ORPBank,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    monkeypatch.setattr(pretrain_config, "print_log", lambda text, *_: said.append(text))
    recognizer = nrtr(neck=neck, **({} if encoder else {"encoder": None}))
    typeset = {"feature_shape": [WIDTH, 1, 16], "character_width": None}
    cfg = build_pretrain_config(recognizer, spelled_store, bank, typeset=typeset)
    assert cfg.model.type == "TypesetPretrainer"
    assert ("encoder" in cfg.model) == trained
    assert ["next to nothing" in text for text in said] == [True] * warned
