# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Every config trains a step of both stages and reads."""

from pathlib import Path

import pytest
from mmocr.registry import MODELS, TASK_UTILS

from mmdptr.embeddings import ORPBank, TextEmbeddingStore
from mmdptr.engine import DPTRExportHook, load_decoder
from mmdptr.engine.decoder_loading import pretrained_tensors
from mmdptr.engine.pretrain_config import build_pretrain_config, fingerprint
from mmdptr.models import DPTRPretrainer
from mmdptr.models.memory import argument_of
from tests.builders import lone_runner

from .shared import RECOGNIZERS, STAGE_1, images, predict, read, step, texts


def test_configs_are_found() -> None:
    assert {"dptr_nrtr.py", "dptr_nrtr_finetune.py", "mini/dptr_nrtr_mini.py"} <= {*RECOGNIZERS}
    assert "pretrain/dptr_pretrain_nrtr.py" in STAGE_1


@pytest.mark.parametrize("name", RECOGNIZERS)
def test_recognizer_goes_through_both_stages(
    name: str, text_store: Path, orp_bank: Path, photo: Path, tmp_path: Path
) -> None:
    cfg = read(name)
    store, bank = TextEmbeddingStore(text_store), ORPBank(orp_bank)
    recognizer = MODELS.build(cfg.model)
    typeset = None
    if any(hook.get("typeset") for hook in cfg.custom_hooks):
        shape = recognizer.feature_shape(**recognizer.data_preprocessor(images(cfg, photo)))
        typeset = {"feature_shape": shape}
    stage_1 = build_pretrain_config(cfg.model, store, bank, typeset=typeset)
    assert fingerprint(stage_1, store, bank)
    pretrainer = MODELS.build(stage_1.model)
    step(pretrainer, stage_1, texts(stage_1))
    predict(pretrainer, texts(stage_1))
    DPTRExportHook().after_train(lone_runner(pretrainer, tmp_path))

    coverage = load_decoder(recognizer, tmp_path / "decoder.pth")
    names = pretrained_tensors(recognizer.state_dict(), recognizer, pretrainer.parts)
    assert coverage.loaded == len(names)
    assert {x for x, _ in recognizer.named_parameters() if x.startswith("decoder.")} <= {*names}
    assert {x.split(".")[0] for x in names} == {*pretrainer.parts}
    step(recognizer, cfg, images(cfg, photo))
    predict(recognizer, images(cfg, photo))


@pytest.mark.parametrize("name", [x for x in RECOGNIZERS if "clip4str" not in x])
def test_weights_of_mmocrs_recognizer_load(name: str) -> None:
    cfg = read(name)
    ours = MODELS.build(cfg.model).state_dict()
    theirs = cfg.model.to_dict()
    for ours_alone in ("neck", "memory", "with_position"):
        theirs.pop(ours_alone, None)
    theirs = MODELS.build({**theirs, "type": "EncoderDecoderRecognizer"}).state_dict()
    assert {key: x.shape for key, x in ours.items() if not key.startswith("neck.")} == {
        key: x.shape for key, x in theirs.items()
    }


@pytest.mark.parametrize("name", STAGE_1)
def test_stage_1_alone_is_what_the_hook_runs(name: str, text_store: Path, orp_bank: Path) -> None:
    store, bank = TextEmbeddingStore(text_store), ORPBank(orp_bank)
    alone, recognizer = read(name), read(Path(name).name.replace("dptr_pretrain_", "dptr_"))
    options = next(x for x in recognizer.custom_hooks if x.type == "DPTRPretrainHook")
    hook = build_pretrain_config(
        recognizer.model, store, bank, cfg_options=options.get("cfg_options")
    )
    for key in ("decoder", "encoder"):
        assert alone.model.get(key) == hook.model.get(key)
    ours, theirs = alone.train_dataloader.dataset, hook.train_dataloader.dataset
    assert ours.max_seq_len == theirs.max_seq_len
    assert TASK_UTILS.build(ours.dictionary).dict == TASK_UTILS.build(theirs.dictionary).dict
    for key in ("optim_wrapper", "param_scheduler", "train_cfg"):
        assert alone[key] == hook[key]


@pytest.mark.parametrize("name", STAGE_1)
def test_stage_1_alone_trains_and_spells(name: str, text_store: Path, orp_bank: Path) -> None:
    cfg = read(name)
    cfg.model.embed_dims = TextEmbeddingStore(text_store).width
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.embeddings = str(text_store)
        assert loader.dataset.dictionary
        assert loader.dataset.max_seq_len == argument_of(cfg.model.decoder, "max_seq_len")
    cfg.train_dataloader.dataset.pipeline[0].bank = str(orp_bank)
    model = MODELS.build(cfg.model)
    assert isinstance(model, DPTRPretrainer)
    step(model, cfg, texts(cfg))
    predict(model, texts(cfg))


def test_finetuning_takes_what_pre_training_writes() -> None:
    finetune, pretrain = read("dptr_nrtr_finetune.py"), read("pretrain/dptr_pretrain_nrtr.py")
    hook = next(x for x in finetune.custom_hooks if x.type == "DPTRPretrainHook")
    # the work dir of mmengine and mim where none is given
    assert hook.checkpoint == "work_dirs/dptr_pretrain_nrtr/decoder.pth"
    theirs, ours = pretrain.model.decoder.to_dict(), finetune.model.decoder.to_dict()
    assert theirs == ours
