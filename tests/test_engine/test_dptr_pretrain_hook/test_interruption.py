# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from tests.interruption import Killed

from .stage_2 import Probe, config, decoders, train


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


def test_stage_1_survives_a_kill_while_it_writes_a_checkpoint(
    store: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = {"embeddings": str(store), "epochs": 3}

    def killed(checkpoint: dict[str, Any], path: str, **_: Any) -> None:
        if path.endswith("epoch_2.pth"):
            Path(path).write_bytes(b"half")
            raise Killed
        torch.save(checkpoint, path)

    with monkeypatch.context() as patch:
        patch.setattr("mmengine.runner.runner.save_checkpoint", killed)
        with pytest.raises(Killed):
            train(config(tmp_path, images, dict(hook)))
    assert decoders(tmp_path) == []
    train(config(tmp_path, images, dict(hook)))
    assert Probe.epochs == [0, 1, 1, 2]
    assert len(decoders(tmp_path)) == 1


def test_stage_1_goes_on_from_the_newest_checkpoint_that_can_be_read(
    store: Path, images: Path, tmp_path: Path
) -> None:
    hook = {"embeddings": str(store), "epochs": 3}
    Probe.stop_at = 2
    with pytest.raises(KeyboardInterrupt):
        train(config(tmp_path, images, dict(hook)))
    (last,) = (tmp_path / "dptr_pretrain").rglob("epoch_2.pth")
    last.write_bytes(b"half")
    Probe.stop_at = None
    train(config(tmp_path, images, dict(hook)))
    assert Probe.epochs == [0, 1, 1, 2]


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
    with pytest.raises(FloatingPointError, match=r"infinite values in .*Lower the learning rate"):
        train(config(tmp_path, images, {"embeddings": str(store), "cfg_options": options}))
    assert Probe.epochs == [0]
    assert list(tmp_path.rglob("*.pth")) == []
