# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""What a study is: its YAML file, the training runs that follow from it, and their configs.

Every recipe is trained in every variant with every seed. Options are MMEngine's: a dotted name and
a value, ``null`` for None; lists are replaced as a whole, or one of their elements is reached by
its number. Those of the study come first, then those of the recipe, then those of the variant. A
recipe without options is the name of its config file, another has it as ``config`` among them, and
may have ``seeds`` of its own.
``{recipe}``, ``{variant}`` and ``{seed}`` in the text of an option are those of the run: with an
annotation file ``{seed}_train.jsonl``, the seeds are the folds that tools/prepare_folds.py wrote.
"""

import hashlib
import inspect
import json
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config
from mmengine.runner import Runner

REQUIRED = ("recipes", "variants")
DEFAULTS: dict[str, Any] = {
    "options": {},
    "seeds": [0],
    "metric": "word_acc_ignore_case_symbol",
}
# What MMEngine's runner reads decides the result: neither helper variables of configs, nor where
# files are written and caches lie.
SETTINGS = set(inspect.signature(Runner).parameters) - {"cfg", "work_dir", "resume", "launcher"}
PLACES = ("pretrain_dir",)


@dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
        recipe (str): Name of the recipe.
        variant (str): Name of the variant.
        seed (int): The seed.
        config (str): Config file of the recipe.
        options (tuple[dict]): Settings over it by dotted name, merged one after the other.
        metric (str): What accuracy is, by the name that MMOCR's ``WordMetric`` gives it.
    """

    recipe: str
    variant: str
    seed: int
    config: str
    options: tuple[dict[str, Any], ...]
    metric: str

    @property
    def row(self) -> str:
        """Name of the run and its repetitions with other seeds, which tables have in one row."""
        return f"{self.recipe}-{self.variant}"

    @property
    def name(self) -> str:
        """Name of the run, its work dir and its result."""
        return f"{self.row}-seed{self.seed}"

    def matches(self, glob: str) -> bool:
        """Tell whether a glob is of the run's name, or of that without the seed."""
        return fnmatch(self.name, glob) or fnmatch(self.row, glob)

    def load_config(self) -> Config:
        """Return the config that is trained."""
        cfg = Config.fromfile(self.config)
        # In turn, so that a later option may reach into what an earlier one replaced; copies,
        # because merging takes the options apart.
        names = {"recipe": self.recipe, "variant": self.variant, "seed": str(self.seed)}
        for options in (*self.options, {"randomness.seed": self.seed}):
            cfg.merge_from_dict(_fill_in(options, names))
        return cfg


@dataclass(frozen=True)
class Study:
    """Recipes, variants and seeds that are compared.

    Attributes:
        recipes (dict[str, dict]): Name and options, among them ``config``, the config file, and
            ``seeds``, if they are others than those of the study.
        variants (dict[str, dict]): Name and options; the first is what others are compared with.
        options (dict): Options of all runs.
        seeds (list[int]): Every run is repeated with each of them, unless its recipe has its own.
        metric (str): What accuracy is.
    """

    recipes: dict[str, dict[str, Any]]
    variants: dict[str, dict[str, Any]]
    options: dict[str, Any]
    seeds: list[int]
    metric: str

    def run(self, recipe: str, variant: str, seed: int) -> Run:
        """Return one run."""
        of_recipe = dict(self.recipes[recipe])
        config = of_recipe.pop("config")
        of_recipe.pop("seeds", None)
        options = (self.options, of_recipe, self.variants[variant])
        return Run(recipe, variant, seed, config, options, self.metric)

    @property
    def runs(self) -> list[Run]:
        """All runs; a study that is broken off has compared some recipes rather than none."""
        runs = [
            self.run(recipe, variant, seed)
            for recipe, options in self.recipes.items()
            for seed in options.get("seeds", self.seeds)
            for variant in self.variants
        ]
        return sorted(runs, key=lambda run: run.seed)  # which leaves the others' order as it is


def read_study(path: str | Path) -> Study:
    """Read a study from its YAML file.

    Raises:
        ValueError: It lacks recipes or variants, or has keys that a study does not have, or a
            recipe names no config.
    """
    content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    found = list(content) if isinstance(content, dict) else [type(content).__name__]
    missing = [key for key in REQUIRED if key not in found]
    unknown = [key for key in found if key not in (*REQUIRED, *DEFAULTS)]
    if missing or unknown:
        raise ValueError(
            f"{path} must have {' and '.join(REQUIRED)}, may have {' and '.join(DEFAULTS)}, and "
            f"nothing else; found {', '.join(map(str, found))}. See tools/study/recognizers.yaml."
        )
    study = Study(**{**DEFAULTS, **content})
    recipes = {
        name: {"config": recipe} if isinstance(recipe, str) else recipe
        for name, recipe in study.recipes.items()
    }
    for name, recipe in recipes.items():
        if "config" not in (recipe or {}):
            raise ValueError(f"Recipe {name} of {path} has no config; found {recipe}.")
    # A variant without options may be written with nothing behind its colon.
    variants = {name: options or {} for name, options in study.variants.items()}
    return Study(recipes, variants, study.options or {}, study.seeds, study.metric)


def results_folder(path: str | Path) -> Path:
    """Return where the results of a study lie unless told: beside its YAML file."""
    return Path(path).parent / "results" / Path(path).stem


def config_hash(cfg: Config) -> str:
    """Return the SHA-256 of all settings that a run depends on, on any machine.

    Absolute paths, such as those of dictionaries beside a config, count by their last part.
    """
    settings = {key: value for key, value in cfg.to_dict().items() if key in SETTINGS}
    content = json.dumps(_portable(settings), sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()


def _fill_in(value: Any, names: dict[str, str]) -> Any:
    """Copy options, with what the run is called filled in."""
    if isinstance(value, dict):
        return {k: _fill_in(v, names) for k, v in value.items()}
    if isinstance(value, list):
        return [_fill_in(item, names) for item in value]
    if isinstance(value, str):
        for name, text in names.items():
            value = value.replace(f"{{{name}}}", text)
    return value


def _portable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _portable(v) for k, v in value.items() if k not in PLACES}
    if isinstance(value, list | tuple):
        return [_portable(item) for item in value]
    if isinstance(value, str) and Path(value).is_absolute():
        return Path(value).name
    return value
