# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import itertools
import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from mmocr.registry import HOOKS
from PIL import Image

import mmdptr
from mmdptr.engine import DPTRPretrainHook
from tests.builders import DICT_FILE, WIDTH, nrtr, nrtr_decoder, words, write_bank, write_store

STAGE_1 = {
    "train_dataloader": {"batch_size": 16, "num_workers": 0, "persistent_workers": False},
    "val_dataloader": {"num_workers": 0, "persistent_workers": False},
    "train_dataloader.dataset.holdout": 0.2,
    "val_dataloader.dataset.holdout": 0.2,
    "default_hooks.logger.interval": 1,
}
run_numbers = itertools.count()


class Probe(Hook):
    """Sees the epochs of the runs that it is in, and can break one off."""

    epochs: list[int] = []
    stop_at: int | None = None

    def before_train_epoch(self, runner: Runner) -> None:
        if runner.epoch == self.stop_at:
            raise KeyboardInterrupt
        self.epochs.append(runner.epoch)


class CurrentInstances(Hook):
    """Stage 2's own instances must be the current ones."""

    seen = 0

    def before_train_iter(self, runner: Runner, **_: Any) -> None:
        assert MMLogger.get_current_instance() is runner.logger
        assert MessageHub.get_current_instance() is runner.message_hub
        assert Visualizer.get_current_instance() is runner.visualizer
        assert DefaultScope.get_current_instance().scope_name == "mmocr"
        CurrentInstances.seen += 1


@pytest.fixture(autouse=True)
def probes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for cls in (Probe, CurrentInstances):
        HOOKS.register_module(module=cls)
    monkeypatch.setattr(Probe, "epochs", [])
    monkeypatch.setattr(Probe, "stop_at", None)
    # only for the log, and slow
    monkeypatch.setattr("mmengine.runner.runner.collect_env", dict)
    monkeypatch.setattr(Config, "pretty_text", "")
    yield
    for cls in (Probe, CurrentInstances):
        HOOKS._module_dict.pop(cls.__name__)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # of another width than the decoder, so that there is a projection
    return write_store(tmp_path_factory.mktemp("stores") / "words", words(80), width=WIDTH // 2)


@pytest.fixture(scope="module")
def spelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stores") / "words"
    return write_store(folder, words(80), width=WIDTH // 2, spelling="characters")


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bank(tmp_path_factory.mktemp("banks") / "bank", width=WIDTH // 2)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    lines = []
    for i, word in enumerate(words(8, seed=5)):
        pixels = rng.integers(0, 255, (32, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        lines.append(json.dumps({"filename": f"{i}.png", "text": word}))
    (folder / "words.jsonl").write_text("\n".join(lines))
    return folder


def config(work_dir: Path, images: Path, hook: dict[str, Any], **changes: Any) -> Config:
    """Stage 2: two iterations an epoch, with dropout, so that chance shows."""
    options = {
        **STAGE_1,
        "custom_hooks": [
            {"type": "EpochSeedHook"},
            {"type": "NonFiniteLossHook"},
            {"type": "DPTRExportHook"},
            {"type": "Probe"},
        ],
        **hook.pop("cfg_options", {}),
    }
    if "embeddings" in hook:
        hook = {"epochs": 1, "cfg_options": options, **hook}
    pipeline = [
        {"type": "LoadImageFromFile"},
        {"type": "LoadOCRAnnotations", "with_text": True},
        {"type": "Resize", "scale": (64, 32)},
        {"type": "PackTextRecogInputs", "meta_keys": ("img_shape", "valid_ratio")},
    ]
    dataset = {
        "type": "RecogTextDataset",
        "data_root": str(images),
        "ann_file": "words.jsonl",
        "parser_cfg": {"type": "LineJsonParser", "keys": ["filename", "text"]},
        "pipeline": pipeline,
    }
    return Config(
        {
            "default_scope": "mmocr",
            "experiment_name": f"stage_2_{next(run_numbers)}",
            "work_dir": str(work_dir),
            "model": nrtr(neck={"type": "FMU", "dropout": 0.2}),
            "train_dataloader": {
                "batch_size": 4,
                "num_workers": 0,
                "sampler": {"type": "DefaultSampler", "shuffle": True},
                "dataset": dataset,
            },
            "train_cfg": {"type": "EpochBasedTrainLoop", "max_epochs": 1},
            "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.01}},
            "default_hooks": {"logger": {"type": "LoggerHook", "interval": 1}},
            "visualizer": {"type": "TextRecogLocalVisualizer", "name": "stage 2"},
            "randomness": {"seed": 0},
            "custom_hooks": [{"type": "DPTRPretrainHook", **hook}, {"type": "CurrentInstances"}],
            **changes,
        }
    )


def train(cfg: Config) -> tuple[list[float], dict[str, torch.Tensor]]:
    """The losses of stage 2 and its weights."""
    runner = Runner.from_cfg(cfg)
    runner.train()
    losses = runner.message_hub.log_scalars["train/loss"].data[0]
    return losses.tolist(), runner.model.state_dict()


def decoders(work_dir: Path) -> list[Path]:
    return sorted((work_dir / "dptr_pretrain").glob("*/decoder.pth"))


def test_stage_1_runs_once_and_stage_2_starts_from_it(
    store: Path, bank: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = {"embeddings": str(store), "orp_bank": str(bank)}
    work_dir, seen = tmp_path / "run", CurrentInstances.seen
    fresh, weights = train(config(work_dir, images, dict(hook)))
    assert Probe.epochs == [0]
    assert CurrentInstances.seen == seen + 2
    (decoder,) = decoders(work_dir)
    log = next(work_dir.glob("*/*.log")).read_text()
    assert "Stage 1: pre-training the decoder in" in log
    assert "Stage 1 is done. Words it had not seen: spelling/word_acc 0." in log
    assert "coverage 100 %), 12 FMU queries from the slot prior" in log

    # a second run with the same settings takes the same decoder, and goes the same way
    written = decoder.stat().st_mtime_ns
    cached, cached_weights = train(config(work_dir, images, dict(hook)))
    assert Probe.epochs == [0]
    assert decoders(work_dir) == [decoder]
    assert decoder.stat().st_mtime_ns == written
    assert len(fresh) == 2
    assert fresh == cached
    torch.testing.assert_close(weights, cached_weights, rtol=0, atol=0)
    assert "Stage 1 was run before with the same settings" in "".join(
        path.read_text() for path in work_dir.glob("*/*.log")
    )

    # so does one elsewhere that shares the cache, with a store elsewhere
    moved = shutil.copytree(store, tmp_path / "moved")
    shared = {**hook, "embeddings": str(moved), "pretrain_dir": str(work_dir / "dptr_pretrain")}
    assert train(config(tmp_path / "other", images, shared))[0] == fresh
    assert Probe.epochs == [0]

    # other settings are another decoder
    train(config(work_dir, images, {**hook, "noise_scale": 0.5}))
    assert Probe.epochs == [0, 0]
    assert len(decoders(work_dir)) == 2

    # the decoder of stage 1 is what stage 2 began with: at a rate of 0 it still has it
    still = {"optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.0}}}
    state = train(config(work_dir, images, dict(hook), **still))[1]
    stage1 = torch.load(decoder, weights_only=True)["state_dict"]
    assert len(stage1) > 20
    for name, tensor in stage1.items():
        torch.testing.assert_close(state[name], tensor, rtol=0, atol=0)

    # nothing of CLIP is in any checkpoint
    parts = set()
    for path in [*work_dir.rglob("*.pth")]:
        content = torch.load(path, weights_only=False)
        parts |= {name.split(".")[0] for name in content["state_dict"]}
    assert parts == {"backbone", "encoder", "decoder", "neck", "projection"}


def test_stage_1_on_typeset_text_gives_all_but_the_backbone(
    spelled: Path, bank: Path, images: Path, tmp_path: Path
) -> None:
    hook = {"embeddings": str(spelled), "orp_bank": str(bank), "typeset": True}
    still = {"optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.0}}}
    state = train(config(tmp_path / "run", images, dict(hook), **still))[1]
    (decoder,) = decoders(tmp_path / "run")
    content = torch.load(decoder, weights_only=True)
    assert content["meta"]["dptr"]["parts"] == ["encoder", "neck", "decoder"]
    stage1 = content["state_dict"]
    assert {name.split(".")[0] for name in stage1} == {"encoder", "neck", "decoder"}
    assert {*stage1} == {name for name in state if not name.startswith("backbone.")}
    for name, tensor in stage1.items():
        torch.testing.assert_close(state[name], tensor, rtol=0, atol=0)
    # Images of 32x64 pixels are a row of 16 columns behind this backbone.
    log = "".join(path.read_text() for path in (tmp_path / "run").glob("dptr_pretrain/*/*/*.log"))
    assert "spelling/word_acc" in log
    assert train(config(tmp_path / "run", images, dict(hook)))[0]
    assert Probe.epochs == [0]
    # The decoder alone is another one.
    train(config(tmp_path / "run", images, {**hook, "typeset": False}))
    assert len(decoders(tmp_path / "run")) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"neck": None}, r"this recognizer has none. Set model\.neck"),
        ({"type": "NRTR"}, "for a DPTRRecognizer or CLIP4STR, found NRTR"),
    ],
)
def test_typeset_text_is_refused_where_nothing_reads_it(
    spelled: Path, images: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    model = {**nrtr(neck={"type": "FMU"}), **changes}
    if "type" in changes:
        model.pop("neck")
    cfg = config(tmp_path, images, {"embeddings": str(spelled), "typeset": True}, model=model)
    with pytest.raises(ValueError, match=message):
        Runner.from_cfg(cfg).train()


def test_typeset_text_needs_characters(store: Path, images: Path, tmp_path: Path) -> None:
    cfg = config(tmp_path, images, {"embeddings": str(store), "typeset": True})
    with pytest.raises(ValueError, match="--spelling characters and without"):
        Runner.from_cfg(cfg).train()


def test_resumed_stage_2_does_not_repeat_stage_1(store: Path, images: Path, tmp_path: Path) -> None:
    train(config(tmp_path, images, {"embeddings": str(store)}))
    shutil.rmtree(tmp_path / "dptr_pretrain")
    two = {"type": "EpochBasedTrainLoop", "max_epochs": 2}
    hook = {"embeddings": str(store / "not there any more")}
    losses, _ = train(config(tmp_path, images, hook, train_cfg=two, resume=True))
    assert len(losses) == 4
    assert Probe.epochs == [0]
    assert not (tmp_path / "dptr_pretrain").exists()
    logs = "".join(path.read_text() for path in tmp_path.glob("*/*.log"))
    assert logs.count("Stage 2 is resumed; its decoder was pre-trained before.") == 1


def test_interrupted_stage_1_goes_on(store: Path, images: Path, tmp_path: Path) -> None:
    hook = {"embeddings": str(store), "epochs": 3}
    Probe.stop_at = 2
    with pytest.raises(KeyboardInterrupt):
        train(config(tmp_path, images, dict(hook)))
    assert Probe.epochs == [0, 1]
    assert decoders(tmp_path) == []
    (checkpoint,) = (tmp_path / "dptr_pretrain").rglob("epoch_2.pth")
    Probe.stop_at = None
    train(config(tmp_path, images, dict(hook)))
    assert Probe.epochs == [0, 1, 2]
    (decoder,) = decoders(tmp_path)
    assert decoder.parent == checkpoint.parent


@pytest.mark.parametrize("num_workers", [0, 2])
def test_interrupted_or_not_it_ends_with_the_same_bits(
    store: Path, bank: Path, images: Path, tmp_path: Path, num_workers: int
) -> None:
    hook = {
        "embeddings": str(store),
        "orp_bank": str(bank),
        "epochs": 3,
        "cfg_options": {"train_dataloader.num_workers": num_workers},
    }
    states = []
    for name, stop_at in (("whole", None), ("interrupted", 1), ("other", None)):
        Probe.stop_at = stop_at
        changes = {"randomness": {"seed": 7 if name == "other" else 3}}
        if stop_at is not None:
            with pytest.raises(KeyboardInterrupt):
                train(config(tmp_path / name, images, dict(hook), **changes))
            Probe.stop_at = None
            torch.rand(11)  # whatever happened before
        train(config(tmp_path / name, images, dict(hook), **changes))
        (decoder,) = decoders(tmp_path / name)
        states.append(torch.load(decoder, weights_only=True)["state_dict"])
    whole, interrupted, other = states
    assert all(torch.equal(whole[key], interrupted[key]) for key in whole)
    assert not all(torch.equal(whole[key], other[key]) for key in whole)


def test_stage_1_does_without_a_store(images: Path, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("\n".join(words(60)))
    embeddings = {
        "corpora": [str(tmp_path / "words.txt")],
        "clip": {"model": "mmdptr-tiny", "pretrained": "random"},
        "dict_file": str(DICT_FILE),
        "label_filter": {"max_length": 10},
    }
    _, state = train(config(tmp_path, images, {"embeddings": embeddings}))
    assert Probe.epochs == [0]
    (path,) = decoders(tmp_path)
    saved = torch.load(path, weights_only=True)
    assert saved["meta"]["dptr"]["embed_dims"] == 256
    assert not any("clip" in key for key in (*state, *saved["state_dict"]))


def test_of_two_trainings_one_runs_stage_1(store: Path, images: Path, tmp_path: Path) -> None:
    shared = str(tmp_path / "shared")
    hook = {"embeddings": str(store), "pretrain_dir": shared}
    train(config(tmp_path / "first", images, hook))
    assert Probe.epochs == [0]
    decoder = next(Path(shared).glob("*/decoder.pth"))
    hidden = decoder.rename(decoder.with_suffix(".hidden"))
    (decoder.parent / "last_checkpoint").unlink()  # else a second run would have nothing to do
    locked = threading.Event()

    def other_training() -> None:
        with FileLock(decoder.parent.with_suffix(".lock")):
            locked.set()
            time.sleep(2)
            hidden.rename(decoder)

    thread = threading.Thread(target=other_training)
    thread.start()
    locked.wait()
    train(config(tmp_path / "second", images, hook))
    thread.join()
    assert Probe.epochs == [0]  # it has waited, and found the decoder


def test_diverged_stage_1_leaves_no_decoder(store: Path, images: Path, tmp_path: Path) -> None:
    options = {"optim_wrapper.optimizer.lr": 1e38, "optim_wrapper.clip_grad": None}
    with pytest.raises(FloatingPointError, match=r"The loss is .*Lower the learning rate"):
        train(config(tmp_path, images, {"embeddings": str(store), "cfg_options": options}))
    assert Probe.epochs == [0]
    assert list(tmp_path.rglob("*.pth")) == []


def test_decoder_that_was_pre_trained_apart_is_loaded(
    store: Path, images: Path, tmp_path: Path
) -> None:
    train(config(tmp_path / "one", images, {"embeddings": str(store)}))
    (decoder,) = decoders(tmp_path / "one")
    (checkpoint,) = decoder.parent.glob("epoch_*.pth")
    still = {"optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.0}}}
    expected = torch.load(decoder, weights_only=True)["state_dict"]
    for path in (decoder, checkpoint):
        hook = {"checkpoint": str(path)}
        work_dir = tmp_path / path.stem
        state = train(config(work_dir, images, hook, **still))[1]
        assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())
        assert not (work_dir / "dptr_pretrain").exists()
    assert Probe.epochs == [0]
    hook = {"checkpoint": str(decoder), "load": ["slot_prior"]}
    state = train(config(tmp_path / "prior", images, hook, **still))[1]
    assert torch.equal(state["neck.queries"], expected["neck.queries"])
    key = "decoder.classifier.weight"
    assert not torch.equal(state[key], expected[key])
    with pytest.raises(FileNotFoundError, match=r"none.pth does not exist"):
        train(config(tmp_path / "x", images, {"checkpoint": str(tmp_path / "none.pth")}))


@pytest.mark.parametrize("given", [{}, {"embeddings": "a", "checkpoint": "b"}])
def test_either_embeddings_or_checkpoint(given: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"needs either `embeddings`, .* or `checkpoint`"):
        DPTRPretrainHook(**given)


def test_what_cannot_be_pre_trained_is_said_before_any_training(
    store: Path, bank: Path, images: Path, tmp_path: Path
) -> None:
    def refused(error: type[Exception], message: str, **hook: Any) -> None:
        changes = {"model": nrtr(decoder=hook.pop("decoder", nrtr_decoder()))}
        with pytest.raises(error, match=message):
            train(config(tmp_path / "run", images, {"embeddings": str(store), **hook}, **changes))
        assert decoders(tmp_path / "run") == []

    refused(FileNotFoundError, "none holds no manifest", embeddings=str(tmp_path / "none"))
    refused(FileNotFoundError, "none holds no manifest", orp_bank=str(tmp_path / "none"))
    refused(ValueError, "holds orp_bank, expected text_embeddings", embeddings=str(bank))
    other_clip = write_bank(tmp_path / "bank", width=WIDTH // 2, clip="b")
    refused(ValueError, "written by another CLIP", orp_bank=str(other_clip))
    wide = write_bank(tmp_path / "wide", width=WIDTH)
    refused(ValueError, "--joint-space", orp_bank=str(wide))
    refused(ValueError, "has room for 6", decoder=nrtr_decoder(max_seq_len=8))
    foreign = write_store(tmp_path / "foreign", [*words(30), "na\u00efve"])
    refused(ValueError, "dictionary lacks: '\u00ef'", embeddings=str(foreign))
    damaged = shutil.copytree(store, tmp_path / "damaged")
    shard = damaged / "labels-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    refused(ValueError, "is damaged", embeddings=str(damaged))
    assert Probe.epochs.count(0) <= 2  # the two banks are met by the first sample


def test_default_schedule_is_found(store: Path, images: Path, tmp_path: Path) -> None:
    base = Path(mmdptr.__file__).parents[1] / "configs" / "_base_" / "dptr_pretrain.py"
    hook = {"embeddings": str(store), "config": str(base)}
    train(config(tmp_path, images, hook))
    assert Probe.epochs == [0]
