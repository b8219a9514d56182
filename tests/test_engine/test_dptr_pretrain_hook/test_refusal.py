# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import shutil
from pathlib import Path
from typing import Any

import pytest
from mmengine.runner import Runner

from mmdptr.engine import DPTRPretrainHook
from tests.builders import WIDTH, nrtr, nrtr_decoder, words, write_bank, write_store

from .stage_2 import Probe, config, decoders, train


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
