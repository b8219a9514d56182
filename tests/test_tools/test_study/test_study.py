# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""What a study is, and the studies that are shipped."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.test_tools.test_study.small_study import (
    ROOT,
    run,
    study_module,
    write_study,
)


def test_options_reach_the_config(call: Callable[..., str]) -> None:
    call(run, "--only", "one-*")
    work_dirs = Path("work_dirs/study/words")
    scratch, dptr = (
        study_module.Config.fromfile(work_dirs / f"one-{variant}-seed0" / "config.py")
        for variant in ("scratch", "dptr")
    )
    assert scratch.model.neck is None
    assert scratch.custom_hooks == [{"type": "NonFiniteLossHook"}]
    assert scratch.optim_wrapper.paramwise_cfg is None
    assert dptr.model.neck == {"type": "FMU"}
    assert [hook.type for hook in dptr.custom_hooks] == ["DPTRPretrainHook", "Last"]
    assert dptr.optim_wrapper.paramwise_cfg.custom_keys.decoder.lr_mult == 0.1
    assert scratch.train_cfg.max_iters == dptr.train_cfg.max_iters == 100
    assert scratch.randomness.seed == 0


def test_the_options_of_a_variant_come_last() -> None:
    options = {"train_cfg.max_iters": 7, "custom_hooks.0.type": "Changed"}
    write_study(variants={"plain": None, "short": options}, seeds=[3, 4])
    runs = study_module.read_study("words.yaml").runs
    assert [x.name for x in runs[:3]] == ["one-plain-seed3", "one-short-seed3", "two-plain-seed3"]
    plain, short = (x.load_config() for x in runs[-2:])
    assert (plain.train_cfg.max_iters, short.train_cfg.max_iters) == (100, 7)
    assert short.custom_hooks[0].type == "Changed"
    assert plain.custom_hooks[0].type == "DPTRPretrainHook"
    assert short.randomness.seed == 4


def test_options_of_a_recipe_come_between_those_of_study_and_variant() -> None:
    options = {"train_cfg.max_iters": 7, "model.accuracy": 0.9}
    write_study(recipes={"one": {"config": "one.py", **options}})
    scratch, dptr = (x.load_config() for x in study_module.read_study("words.yaml").runs)
    assert (scratch.train_cfg.max_iters, scratch.model.accuracy) == (7, 0.3)
    assert (dptr.train_cfg.max_iters, dptr.model.accuracy) == (7, 0.9)


def test_a_recipe_may_have_its_own_seeds() -> None:
    both = {"one": "one.py", "two": {"config": "one.py", "seeds": [0, 5]}}
    write_study(recipes=both, variants={"plain": None}, seeds=[0])
    runs = study_module.read_study("words.yaml").runs
    assert [x.name for x in runs] == ["one-plain-seed0", "two-plain-seed0", "two-plain-seed5"]
    assert runs[2].load_config().randomness.seed == 5
    assert "seeds" not in runs[2].load_config()


def test_where_files_lie_does_not_change_the_hash(tmp_path: Path) -> None:
    one = study_module.read_study("words.yaml").runs[1].load_config()
    other = study_module.Config.fromfile("one.py")
    other.merge_from_dict({"train_cfg.max_iters": 100, "randomness.seed": 0})
    assert study_module.config_hash(one) == study_module.config_hash(other)
    elsewhere = {"work_dir": "x", "custom_hooks.0.pretrain_dir": "y", "helper_of_a_config": 1}
    other.merge_from_dict({**elsewhere, "model.dictionary": str(tmp_path / "words.txt")})
    one.merge_from_dict({"model.dictionary": "/elsewhere/words.txt"})
    assert study_module.config_hash(one) == study_module.config_hash(other)
    one.merge_from_dict({"randomness.seed": 1})
    assert study_module.config_hash(one) != study_module.config_hash(other)


def test_folds_are_seeds() -> None:
    options = {"model.files": ["all.jsonl", {"ann_file": "{seed}_train.jsonl"}], "model.scale": 2}
    write_study(options=options, seeds=[0, 3])
    runs = study_module.read_study("words.yaml").runs
    files = [x.load_config().model.files for x in runs[::4]]
    assert files == [["all.jsonl", {"ann_file": f"{seed}_train.jsonl"}] for seed in (0, 3)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("recipes: {a: {lr: 1}}\nvariants: {b: {}}", "Recipe a of .* has no config"),
        ("recipes: {}\nvariant: {}", "must have recipes and variants.*found recipes, variant"),
        ("- a", "found list"),
    ],
)
def test_wrong_studies_are_refused(call: Callable[..., str], content: str, message: str) -> None:
    Path("words.yaml").write_text(content)
    with pytest.raises(SystemExit, match=message):
        call(run)


def test_an_unknown_run_is_refused(call: Callable[..., str]) -> None:
    known = r"the runs are: one-scratch, one-dptr, two-scratch, two-dptr\."
    with pytest.raises(SystemExit, match=rf"No run matches --only three\*; {known}"):
        call(run, "--only", "three*")


@pytest.mark.parametrize(
    ("only", "chosen"),
    [
        ("one-dptr", ["one-dptr-seed0", "one-dptr-seed1"]),
        ("one-dptr-seed1", ["one-dptr-seed1"]),
        ("*-dptr", ["one-dptr-seed0", "two-dptr-seed0", "one-dptr-seed1", "two-dptr-seed1"]),
        ("two-*-seed0", ["two-scratch-seed0", "two-dptr-seed0"]),
        ("o*e-dptr-*0", ["one-dptr-seed0"]),
    ],
)
def test_runs_are_named_with_or_without_a_seed(
    call: Callable[..., str], only: str, chosen: list[str]
) -> None:
    write_study(seeds=[0, 1])
    lines = call(run, "--dry-run", "--only", only).splitlines()
    assert [line.partition(":")[0] for line in lines] == chosen


STUDIES = sorted((ROOT / "tools" / "study").glob("*.yaml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_variants_of_a_recipe_differ_in_the_model_and_its_loading_only(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    study = study_module.read_study(path)
    for recipe in study.recipes:
        configs = [study.run(recipe, variant, 0).load_config() for variant in study.variants]
        assert len({study_module.config_hash(cfg) for cfg in configs}) == len(configs)
        one = configs[0]
        assert one.param_scheduler[-1].end == one.train_cfg.max_iters
        for other in configs[1:]:
            for key in ("train_dataloader", "val_dataloader", "train_cfg", "param_scheduler"):
                assert one[key] == other[key]
            assert one.model.decoder == other.model.decoder
            assert one.optim_wrapper.type == other.optim_wrapper.type
            assert one.optim_wrapper.optimizer == other.optim_wrapper.optimizer


def test_the_studies_have_all_recognizers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    minis = {str(path) for path in Path("configs/mini").glob("dptr_*_mini.py")}
    studies = {path.stem: study_module.read_study(path) for path in STUDIES}
    assert {x["config"] for study in studies.values() for x in study.recipes.values()} == minis
    study = studies["recognizers"]
    scratch, dptr = (study.run("nrtr", x, 0).load_config() for x in ("scratch", "dptr"))
    assert scratch.model.neck is None
    assert scratch.optim_wrapper.paramwise_cfg is None
    assert [hook.type for hook in scratch.custom_hooks] == ["NonFiniteLossHook"]
    assert dptr.model.neck.type == "FMU"
    assert dptr.custom_hooks[0].type == "DPTRPretrainHook"


def test_options_may_name_the_run() -> None:
    write_study(options={"load_from": "{recipe}-{variant}-seed{seed}/{x}.pth"}, seeds=[2])
    runs = study_module.read_study("words.yaml").runs
    assert [run.load_config().load_from for run in runs] == [
        f"{run.name}/{{x}}.pth" for run in runs
    ]
