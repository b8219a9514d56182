# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Union14M and the languages are other data for the same recipes."""

import json
import re
import shutil
from pathlib import Path

import lmdb
import pytest
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmocr.registry import DATASETS, METRICS, TASK_UTILS

from .shared import CONFIGS, OF_LANGUAGES, UNION14M, read

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
    assert sorted(f"languages/dptr_nrtr_{language}.py" for language in LANGUAGES) == OF_LANGUAGES


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


@pytest.mark.parametrize("base", ["language.py", "language_mini.py"])
def test_a_language_of_a_user_as_the_docs_have_it(base: str, tmp_path: Path) -> None:
    page = (CONFIGS.parent / "docs/your_own_language.md").read_text(encoding="utf-8")
    text = re.findall(r"```python\n(_base_ = .+?)```", page, re.DOTALL)[0]
    text = text.replace("../_base_/language.py", str(CONFIGS / "_base_" / base))
    text = text.replace("{{ fileDirname }}/..", str(CONFIGS))
    (tmp_path / "mine.py").write_text(text)
    cfg = Config.fromfile(tmp_path / "mine.py")
    hook = cfg.custom_hooks[0]
    assert (hook.type, hook.embeddings) == ("DPTRPretrainHook", "data/bengali/embeddings")
    assert hook.typeset
    assert TASK_UTILS.build(cfg.model.decoder.dictionary).str2idx("ক")
    assert cfg.val_dataloader.dataset.data_root == "data/bengali"


def test_a_language_in_lmdbs_as_the_docs_have_it(photo: Path, tmp_path: Path) -> None:
    for split, text in {"scene_train": "韩国", "scene_test": "小馆"}.items():
        folder = tmp_path / split
        with lmdb.open(str(folder)) as env, env.begin(write=True) as transaction:
            transaction.put(b"num-samples", b"1")
            transaction.put(b"image-000000001", photo.read_bytes())
            transaction.put(b"label-000000001", text.encode())
    page = (CONFIGS.parent / "docs" / "your_own_language.md").read_text(encoding="utf-8")
    (snippet,) = [x for x in page.split("```") if x.startswith("python\nlmdb = ")]
    base = CONFIGS / "languages" / "dptr_nrtr_chinese.py"
    file = tmp_path / "own.py"
    text = snippet.removeprefix("python").replace("data/bctr", str(tmp_path))
    file.write_text(f"_base_ = [{str(base)!r}]\n{text}", encoding="utf-8")
    cfg = read(str(file))
    found = []
    for loader in (cfg.train_dataloader, cfg.test_dataloader, cfg.val_dataloader):
        sample = DATASETS.build(loader.dataset)[0]
        assert sample["inputs"].shape[:2] == (3, 32)
        found.append(sample["data_samples"].gt_text.item)
    assert found == ["韩国", "小馆", "小馆"]
