# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Every config trains a step of both stages and reads; new ones are found by themselves."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper
from mmengine.registry import FUNCTIONS, init_default_scope
from mmocr.registry import DATASETS, HOOKS, METRICS, MODELS, TASK_UTILS
from PIL import Image

from mmdptr.embeddings import ORPBank, TextEmbeddingStore
from mmdptr.engine import DPTRExportHook, load_decoder
from mmdptr.engine.decoder_loading import pretrained_tensors
from mmdptr.engine.pretrain_config import build_pretrain_config, fingerprint
from mmdptr.models import DPTRPretrainer
from mmdptr.models.memory import argument_of
from tests.silent_parameters import SILENT

CONFIGS = Path(__file__).parents[1] / "configs"


def names() -> list[str]:
    files = sorted(path.relative_to(CONFIGS) for path in CONFIGS.rglob("*.py"))
    return [str(path) for path in files if "_base_" not in path.parts]


def is_stage_1(cfg: Config) -> bool:
    return cfg.model.type == "DPTRPretrainer"


NAMES = names()
STAGE_1 = [name for name in NAMES if is_stage_1(Config.fromfile(CONFIGS / name))]
UNION14M = [name for name in NAMES if name.startswith("union14m")]  # other data, the same models
# What a word of each language is made of; the recipes differ in their dictionaries alone.
LANGUAGES = {
    "arabic": {"مرحبا": 5, "خیابان": 6, "٣٤": 2},
    "bengali": {"নমস্কার": 4, "বাংলা": 2},
    "chinese": {"韩国小馆": 4, "汉阳e区25-26号": 10},
    "european": {"straße": 6, "été": 3, "ığdır": 5, "łódź": 4},
    "greek": {"καιρός": 6},
    "hindi": {"मण्डी": 2, "बाराखम्बा": 4},
    "japanese": {"ゲーム": 3, "俺たち": 3, "したがって": 5},
    "korean": {"바탕으로": 4},
    "russian": {"ёлка": 4},
    "thai": {"ก็ดี": 2, "แพทย์": 4},
    "vietnamese": {"người": 5},
    "all-scripts": {"নমস্কার": 4, "ёлка": 4, "俺": 1, "été": 3, "време": 5, "שלום": 4, "მ": 0},
}
OF_LANGUAGES = [f"languages/dptr_nrtr_{language}.py" for language in LANGUAGES]
OTHER_DATA = [*UNION14M, *(x for x in OF_LANGUAGES if "bengali" not in x)]
RECOGNIZERS = [name for name in NAMES if name not in STAGE_1 + OTHER_DATA]


def read(name: str) -> Config:
    cfg = Config.fromfile(CONFIGS / name)
    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    return cfg


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "word.png"
    pixels = np.random.default_rng(0).integers(0, 255, (40, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def images(cfg: Config, photo: Path) -> dict[str, Any]:
    """Two images, as the config's own test pipeline gives them."""
    pipeline = Compose(cfg.test_dataloader.dataset.pipeline)
    # Labels of real-7k have capitals and punctuation.
    labels = ("Dog's!", "c4ts") if "real7k_root" in cfg else ("dog", "c4ts")
    words = [{"img_path": str(photo), "instances": [{"text": x}]} for x in labels]
    return pseudo_collate([pipeline(word) for word in words])


def texts(cfg: Config) -> dict[str, Any]:
    """Two text embeddings, as the training of stage 1 gets them."""
    loader = cfg.train_dataloader
    dataset = DATASETS.build(loader.dataset)
    collate = FUNCTIONS.get(loader.collate_fn.type)
    return collate([dataset[i] for i in (0, 50)])


def step(model: BaseModel, cfg: Config, data: dict[str, Any]) -> None:
    """One training step; it moves every parameter of ours and of the decoder."""
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    losses = model.train().train_step(data, optim_wrapper)
    assert all(torch.isfinite(value) for value in losses.values())
    assert all(torch.isfinite(p).all() for p in model.parameters())
    still = [name for name, p in model.named_parameters() if torch.equal(p, before[name])]
    still = [x for x in still if x.startswith(("decoder.", "neck.", "projection."))]
    # These have a gradient of rounding noise, which may or may not move them.
    assert {*still} <= set().union(*SILENT.values())


def predict(model: BaseModel, data: dict[str, Any]) -> None:
    found = model.eval().test_step(data)
    assert len(found) == 2
    assert all(isinstance(x.pred_text.item, str) for x in found)


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
    DPTRExportHook().after_train(SimpleNamespace(model=pretrainer, work_dir=tmp_path))

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


@pytest.mark.parametrize("name", NAMES)
def test_hooks_are_built(name: str) -> None:
    cfg = read(name)
    hooks = [type(HOOKS.build(hook)).__name__ for hook in cfg.custom_hooks]
    assert "NonFiniteLossHook" in hooks
    assert ("DPTRExportHook" in hooks) == is_stage_1(cfg)
    assert cfg.custom_imports.imports == ["mmdptr"]
    assert cfg.custom_imports.allow_failed_imports is False


@pytest.mark.parametrize("name", RECOGNIZERS)
def test_learning_rate_of_the_decoder_is_the_configs(name: str) -> None:
    cfg = read(name)
    lr = cfg.optim_wrapper.optimizer.lr
    paramwise = cfg.optim_wrapper.get("paramwise_cfg", {})
    multipliers = {k: v.get("lr_mult", 1.0) for k, v in paramwise.get("custom_keys", {}).items()}
    multiplier = multipliers.get("decoder", 1.0)
    pretrained = any(
        hook.type == "DPTRPretrainHook" and "decoder" in hook.get("load", ["decoder"])
        for hook in cfg.custom_hooks
    )
    typeset = any(hook.get("typeset") for hook in cfg.custom_hooks)
    # A decoder that knows something learns slower than it would where what stands before it knows
    # nothing, but not in the paper.
    full = 19 if "clip4str" in name and "mini" not in name else 1
    assert (multiplier < full) == (pretrained and not typeset and "faithful" not in name)
    model = MODELS.build(cfg.model)
    if hasattr(model, "layout") and not typeset:  # an encoder that was pre-trained, too
        shared = model.layout.reads_encoder and model.with_encoder
        assert multipliers.get("encoder", 1.0) == (multiplier if shared else 1.0)
    rates = {
        id(p): group["lr"]
        for group in build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
        for p in group["params"]
    }
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for parameter, p in learning.items():
        key = max((k for k in multipliers if k in parameter), key=len, default="")
        assert rates[id(p)] == pytest.approx(lr * multipliers.get(key, 1.0)), parameter


@pytest.mark.parametrize("name", UNION14M)
def test_union14m_is_other_data_for_the_same_recipe(
    name: str, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The folders that its authors publish, with one photograph in each file.
    levels = ("easy", "medium", "normal", "hard", "challenging")
    root = tmp_path / "Union14M-L"
    files = [root / "train_annos" / "mmocr1.0" / f"train_{level}.json" for level in levels]
    subsets = sorted(read(name).union14m_subsets)
    files += [root / "Union14M-Benchmarks" / subset / "annotation.json" for subset in subsets]
    shutil.copytree(photo.parent, root / "full_images")
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        path = "full_images/word.png" if "train" in file.name else "word.png"
        shutil.copy(photo, file.parent)
        entry = {"img_path": path, "instances": [{"text": "word"}]}
        metainfo = {"dataset_type": "TextRecogDataset", "task_name": "textrecog"}
        file.write_text(json.dumps({"metainfo": metainfo, "data_list": [entry]}))
    monkeypatch.setenv("MMDPTR_UNION14M", str(root))
    cfg = read(name)
    base = read(f"{Path(name).name.removesuffix('_union14m.py')}.py")
    assert cfg.model.to_dict() == base.model.to_dict()
    assert cfg.optim_wrapper.to_dict() == base.optim_wrapper.to_dict()

    trained = DATASETS.build(cfg.train_dataloader.dataset)
    assert [trained[i]["data_samples"].gt_text.item.lower() for i in range(len(trained))] == [
        "word"
    ] * 5
    tested = cfg.test_dataloader.dataset
    assert len(tested.datasets) == len(cfg.val_evaluator.dataset_prefixes) == 13
    tested = DATASETS.build({**tested, "datasets": tested.datasets[6:]})
    assert len(tested) == 7
    assert {tuple(tested[i]["inputs"].shape) for i in range(7)} == {
        tuple(tested[0]["inputs"].shape)
    }


def test_every_language_has_its_words_here() -> None:
    assert sorted(x for x in NAMES if x.startswith("languages")) == sorted(OF_LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_is_another_dictionary_for_the_same_recipe(
    language: str, photo: Path, tmp_path: Path
) -> None:
    cfg, base = read(f"languages/dptr_nrtr_{language}.py"), read("dptr_nrtr.py")
    dictionary = TASK_UTILS.build(cfg.model.decoder.dictionary)
    words = {word: units for word, units in LANGUAGES[language].items() if units}
    assert {word: len(dictionary.str2idx(word)) for word in words} == words
    assert all(dictionary.idx2str(dictionary.str2idx(word)) == word for word in words)
    unknown = [word for word, units in LANGUAGES[language].items() if not units]
    assert all(dictionary.str2idx(word) == [dictionary.unknown_idx] for word in unknown)
    for model in (cfg.model, base.model):
        model.decoder.dictionary = model.decoder.module_loss = None
    assert cfg.model.to_dict() == base.model.to_dict()
    assert cfg.optim_wrapper.to_dict() == base.optim_wrapper.to_dict()

    lines = [json.dumps({"filename": str(photo), "text": word}) + "\n" for word in words]
    for dataset in (cfg.train_dataloader.dataset, cfg.test_dataloader.dataset):
        (tmp_path / dataset.ann_file).write_text("".join(lines))
        assert dataset.data_root == f"data/{language}"
        built = DATASETS.build({**dataset, "data_root": str(tmp_path)})
        found = [built[i]["data_samples"].gt_text.item for i in range(len(built))]
        assert found == list(words)
    # Half of the words are read, the others begin with something else.
    evaluator = Evaluator([METRICS.build(metric) for metric in cfg.test_evaluator.metrics])
    for i, word in enumerate(words):
        label = {"gt_text": {"item": word}, "pred_text": {"item": "x" * (i % 2) + word[i % 2 :]}}
        evaluator.process([label], {})
    right = -(-len(words) // 2) / len(words)
    metrics = evaluator.evaluate(len(words))
    assert metrics["recog/word_acc"] == pytest.approx(right, abs=1e-3)
    assert right <= metrics["recog/1-N.E.D"] <= 1
    assert (metrics["recog/1-N.E.D"] < 1) == (right < 1)


@pytest.mark.parametrize(
    "name", [x for x in RECOGNIZERS if "clip" in x and "word" not in x and "mini" not in x]
)
def test_clip_sees_images_normalized_as_it_knows_them(name: str, photo: Path) -> None:
    cfg = read(name)
    found = MODELS.build(cfg.model.data_preprocessor)(images(cfg, photo))["inputs"][0]
    transform = open_clip.image_transform((224, 224), is_train=False, resize_mode="squash")
    expected = transform(Image.open(photo))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("name", "published"), [("parseq_vit-small.py", 23.8e6), ("clip4str_vit-b16.py", 158e6)]
)
def test_sizes_are_the_published_ones(name: str, published: float) -> None:
    model = MODELS.build(read(name).model)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(published, rel=2e-3)


def test_finetuning_takes_what_pre_training_writes() -> None:
    finetune, pretrain = read("dptr_nrtr_finetune.py"), read("pretrain/dptr_pretrain_nrtr.py")
    hook = next(x for x in finetune.custom_hooks if x.type == "DPTRPretrainHook")
    # the work dir of mmengine and mim where none is given
    assert hook.checkpoint == "work_dirs/dptr_pretrain_nrtr/decoder.pth"
    theirs, ours = pretrain.model.decoder.to_dict(), finetune.model.decoder.to_dict()
    assert theirs == ours


def pipelines(config: Any) -> Iterator[list[dict[str, Any]]]:
    """Every pipeline that stands somewhere in a config."""
    if isinstance(config, dict):
        if config.get("pipeline"):
            yield config["pipeline"]
        for value in config.values():
            yield from pipelines(value)
    elif isinstance(config, list):
        for value in config:
            yield from pipelines(value)


@pytest.mark.parametrize("name", RECOGNIZERS)
def test_training_images_need_no_further_package(name: str, photo: Path) -> None:
    cfg = read(name)
    found = list(pipelines(cfg.train_dataloader.to_dict()))
    assert found
    for pipeline in found:
        word = {"img_path": str(photo), "instances": [{"text": "dog"}]}
        assert Compose(pipeline)(word)["inputs"].dim() == 3
