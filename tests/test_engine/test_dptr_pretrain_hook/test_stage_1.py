# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import shutil
from pathlib import Path

import pytest
import torch

import mmdptr
from tests.builders import DICT_FILE, words

from .stage_2 import CurrentInstances, Probe, config, decoders, train


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


def test_default_schedule_is_found(store: Path, images: Path, tmp_path: Path) -> None:
    base = Path(mmdptr.__file__).parents[1] / "configs" / "_base_" / "dptr_pretrain.py"
    hook = {"embeddings": str(store), "config": str(base)}
    train(config(tmp_path, images, hook))
    assert Probe.epochs == [0]


def test_stage_1_by_iterations_without_validation(
    store: Path, images: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own.py"
    base = Path(mmdptr.__file__).parents[1] / "configs" / "_base_" / "dptr_pretrain.py"
    own.write_text(
        f"_base_ = ['{base}']\n"
        "val_dataloader = val_cfg = val_evaluator = None\n"
        "train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=3)\n"
        "param_scheduler = dict(_delete_=True, type='ConstantLR', by_epoch=False)\n"
        "default_hooks = dict(checkpoint=dict(by_epoch=False, interval=2))\n"
        "log_processor = dict(by_epoch=False)\n"
    )
    hook = {"embeddings": str(store), "config": str(own), "epochs": None}
    cfg = config(tmp_path, images, hook)
    options = cfg.custom_hooks[0].cfg_options
    for name in [name for name in options if name.startswith("val_")]:
        options.pop(name)
    train(cfg)
    (decoder,) = decoders(tmp_path)
    assert {path.name for path in decoder.parent.glob("iter_*.pth")} == {"iter_2.pth", "iter_3.pth"}
    assert "Words it had not seen: not validated." in next(tmp_path.glob("*/*.log")).read_text()


@pytest.mark.parametrize(("least", "warned"), [(0.0, False), (1.1, True)])
def test_a_stage_1_that_cannot_spell_is_warned_of(
    store: Path,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    least: float,
    warned: bool,
) -> None:
    monkeypatch.setattr("mmdptr.engine.hooks.dptr_pretrain_hook.HARDLY_SPELLS", least)
    train(config(tmp_path, images, {"embeddings": str(store)}))
    log = next(tmp_path.glob("*/*.log")).read_text()
    assert ("Stage 1 has hardly learnt to spell" in log) is warned
