# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""The config of stage 1, made from the recognizer's own and a schedule."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from mmocr.registry import TASK_UTILS

import mmdptr
from mmdptr.datasets.text_embeddings import TextEmbeddings
from mmdptr.embeddings import ORPBank, manifest_hash
from mmdptr.models.memory import argument_of, find_memory_layout

DEFAULT_CONFIG = "_base_/dptr_pretrain.py"

OUR_HOOKS = {"EpochSeedHook", "NonFiniteLossHook", "DPTRExportHook"}
"""set[str]: Hooks of stage 1 that do not change its decoder, unlike one such as EMAHook."""


def config_folder() -> Path:
    """Return the folder of our configs: in the installed package, or beside it in a checkout.

    Raises:
        FileNotFoundError: Neither is there.
    """
    package = Path(mmdptr.__file__).parent
    for folder in (package / ".mim" / "configs", package.parent / "configs"):
        if (folder / DEFAULT_CONFIG).is_file():
            return folder
    raise FileNotFoundError(
        f"mmdptr's configs are neither in {package / '.mim'} nor beside {package}. Install mmdptr "
        "again, or name a config of stage 1 by the hook's `config`."
    )


def build_pretrain_config(
    recognizer: dict[str, Any],
    store: TextEmbeddings,
    bank: ORPBank | None,
    config: str | None = None,
    cfg_options: dict[str, Any] | None = None,
    epochs: int | None = None,
    noise_scale: float | None = None,
    typeset: dict[str, Any] | None = None,
) -> Config:
    """Make the config of stage 1 for a recognizer.

    Args:
        recognizer (dict): The recognizer's model config.
        store (TextEmbeddings): The labels and their embeddings.
        bank (ORPBank, optional): The noise; None trains without ORP.
        config (str, optional): File with the schedule, the data loaders and hooks of stage 1.
            Defaults to ``configs/_base_/dptr_pretrain.py``.
        cfg_options (dict, optional): Settings over it, by dotted name. Defaults to None.
        epochs (int, optional): Epochs, the learning-rate schedule included. Defaults to those of
            the file.
        noise_scale (float, optional): ORP's scale. Defaults to that of the file.
        typeset (dict, optional): ``feature_shape`` and ``character_width`` of the recognizer's
            images, to train on typeset text, see :class:`TypesetPretrainer`. Defaults to None: the
            decoder alone.

    Returns:
        Config: A config that MMEngine's runner trains.

    Raises:
        ValueError: The config has no data, or its training no epochs to set; or typeset text,
            which is for recognizers with an FMU and for stores of spelled labels.
    """
    cfg = Config.fromfile(config or config_folder() / DEFAULT_CONFIG)
    if not cfg.get("train_dataloader"):
        raise ValueError(
            f"{config} has no train_dataloader; stage 1 needs data loaders and a schedule. Begin "
            f"it with _base_ = ['{config_folder() / DEFAULT_CONFIG}']."
        )
    decoder = recognizer["decoder"]
    memory = recognizer.get("memory")
    layout = find_memory_layout(decoder, memory)
    cfg.model = {
        **cfg.get("model", {}),
        "type": "DPTRPretrainer",
        "decoder": decoder,
        "embed_dims": store.width,
        "memory": memory,
    }
    reads_encoder = layout.reads_encoder
    if typeset is not None:
        _check_typesetting(recognizer, store)
        cfg.model.update(
            type="TypesetPretrainer",
            neck=recognizer["neck"],
            with_position=recognizer.get("with_position", True),
            **typeset,
        )
        # Between backbone and FMU it is trained, unless the FMU has layers of its own to read with.
        before = layout.site == "out_enc" and bool(recognizer.get("backbone"))
        reads_encoder |= before and not recognizer["neck"].get("num_layers")
    if reads_encoder and recognizer.get("encoder"):
        cfg.model.encoder = recognizer["encoder"]
    elif typeset is not None and not recognizer["neck"].get("num_layers"):
        print_log(
            "Nothing but the FMU's queries reads typeset text here, and one layer learns next to "
            "nothing from it. Set model.neck.num_layers=2, or the hook's typeset=False.",
            "current",
            logging.WARNING,
        )
    for loader in _loaders(cfg):
        dataset = loader.dataset
        dataset.embeddings = store.config
        if isinstance(store.config, dict):  # CLIP computes in this process
            loader.update(num_workers=0, persistent_workers=False)
        dataset.verify_checksums = False  # the caller has
        dataset.dictionary = decoder["dictionary"]
        dataset.max_seq_len = argument_of(decoder, "max_seq_len")
        if bank is not None:
            dataset.pipeline = _with_bank(dataset.pipeline, bank, noise_scale)
    if epochs is not None:
        _set_epochs(cfg, epochs)
    cfg.merge_from_dict(cfg_options or {})
    if bank is None:  # only now: the options name the steps of the file by their place
        for loader in _loaders(cfg):
            loader.dataset.pipeline = [x for x in loader.dataset.pipeline if x["type"] != "ORP"]
    return cfg


def _loaders(cfg: Config) -> list[ConfigDict]:
    """Return the data loaders; validation may be left out."""
    return [x for x in (cfg.train_dataloader, cfg.get("val_dataloader")) if x]


def _check_typesetting(recognizer: dict[str, Any], store: TextEmbeddings) -> None:
    spelling = store.manifest["source"].get("prompt", {}).get("spelling")
    if spelling != "characters" or store.keeps_padding:
        padding = ", with padding" if store.keeps_padding else ""
        raise ValueError(
            f"Typeset text needs an embedding a character, and {store.folder} was written with "
            f"spelling {spelling!r}{padding}. Extract it with --spelling characters and without "
            "--keep-padding, or set the hook's typeset=False."
        )
    if not recognizer.get("neck"):
        raise ValueError(
            "Typeset text is read through the FMU, and this recognizer has none. Set "
            "model.neck=dict(type='FMU'), or the hook's typeset=False."
        )


def _with_bank(
    pipeline: list[dict[str, Any]], bank: ORPBank, scale: float | None
) -> list[dict[str, Any]]:
    """Point ORP to the bank."""
    settings: dict[str, Any] = {"bank": str(bank.folder), "verify_checksums": False}
    if scale is not None:
        settings["scale"] = scale
    return [{**step, **settings} if step["type"] == "ORP" else step for step in pipeline]


def _set_epochs(cfg: Config, epochs: int) -> None:
    """Change the number of epochs, and whatever of the schedule ended with the old number."""
    old = cfg.train_cfg.get("max_epochs")
    if old is None:
        raise ValueError(
            f"Found epochs={epochs}, but the config of stage 1 does not train by epochs: "
            f"train_cfg={cfg.train_cfg.to_dict()}. Leave out `epochs`, and set "
            "cfg_options={'train_cfg.max_iters': ...} instead."
        )
    cfg.train_cfg.max_epochs = epochs
    schedulers = cfg.get("param_scheduler") or []
    if isinstance(schedulers, dict):  # MMEngine takes a single one, too
        schedulers = [schedulers]
    for scheduler in schedulers:
        for key in ("end", "T_max", "total_steps"):
            if scheduler.get(key) == old:
                scheduler[key] = epochs
    # With one epoch there is nothing left for a scheduler that begins after the first.
    cfg.param_scheduler = [s for s in schedulers if s.get("begin", 0) < epochs]


def fingerprint(cfg: Config, store: TextEmbeddings, bank: ORPBank | None) -> str:
    """Return a hash of all that a pre-trained decoder depends on.

    Paths do not count but what lies there: the content of the store, the bank and the dictionary.
    Neither do workers, logging, checkpoints and validation, nor the hooks of our own config.
    """
    model = cfg.model.to_dict()
    dictionary = TASK_UTILS.build(model["decoder"].pop("dictionary"))
    dataset = cfg.train_dataloader.dataset.to_dict()
    for key in ("embeddings", "dictionary", "verify_checksums"):
        dataset.pop(key, None)
    for step in dataset["pipeline"]:
        step.pop("bank", None)
        step.pop("verify_checksums", None)
    content = {
        "mmdptr": mmdptr.__version__,
        "model": model,
        "dictionary": dictionary.dict,
        "dataset": dataset,
        "batch_size": cfg.train_dataloader.batch_size,
        "optimizer": cfg.optim_wrapper.to_dict(),
        "scheduler": cfg.get("param_scheduler"),
        "epochs": cfg.train_cfg.get("max_epochs"),
        "seed": cfg.get("randomness", {}).get("seed"),
        "store": manifest_hash(store.manifest),
        "bank": manifest_hash(bank.manifest) if bank else None,
    }
    # Named only where there are some, so that decoders of earlier versions stay valid.
    hooks = [x for x in cfg.get("custom_hooks") or [] if x["type"] not in OUR_HOOKS]
    content |= {"hooks": hooks} if hooks else {}
    iters = cfg.train_cfg.get("max_iters")
    content |= {"iters": iters} if iters else {}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
