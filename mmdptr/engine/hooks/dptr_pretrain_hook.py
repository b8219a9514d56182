# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Stage 1 inside the training of stage 2."""

import gc
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmocr.registry import HOOKS
from torch import nn

from mmdptr.datasets.text_embeddings import open_text_embeddings
from mmdptr.embeddings import ORPBank
from mmdptr.engine.cache_folder import alone_in, ask_main_process, find_checkpoint
from mmdptr.engine.decoder_loading import DECODER, NECK, PARTS, QUERIES, load_decoder
from mmdptr.engine.image_survey import survey_images
from mmdptr.engine.isolation import isolated_runner
from mmdptr.engine.pretrain_config import build_pretrain_config, fingerprint

from .dptr_export_hook import EXPORT

HARDLY_SPELLS = 0.05
"""float: Part of unseen words spelled below which stage 1 warns; 0.09 still helped NRTR."""


@HOOKS.register_module()
class DPTRPretrainHook(Hook):
    """Gives a recognizer a decoder that was pre-trained on text alone, before it is trained.

    Runs ``before_train``: a runner of its own trains the recognizer's decoder on text embeddings
    (arXiv 2408.05706, stage 1) in ``<work_dir>/dptr_pretrain/<fingerprint>``, with the same
    launcher and the same wish to scale the rate with the batch (``auto_scale_lr.enable``), and
    resumes there after an interruption. The fingerprint covers all that the decoder
    depends on, so a decoder that is there already is taken as it is, and of several trainings that
    share the folder one runs stage 1 while the others wait. It is then loaded into the
    recognizer, all of it or with an error. A resumed stage 2 has its decoder and does nothing.

    A decoder and an FMU that ``load_from`` gives whole are kept, and stage 1 left out: what was
    fine-tuned before is fine-tuned further. A checkpoint without one of them, such as MMOCR's own,
    or with other sizes, such as other classes, gives the rest of the model.

    Args:
        embeddings (str or dict, optional): Folder of the text-embedding store, or the arguments of
            a :class:`LiveTextEmbeddings`, which does without one. Either this or ``checkpoint`` is
            needed.
        orp_bank (str, optional): Folder of the ORP bank. Defaults to None: no perturbation.
        checkpoint (str, optional): A decoder that was pre-trained apart, ``decoder.pth`` or a
            checkpoint of stage 1, instead of running it. Defaults to None.
        load (Sequence[str]): What to take from stage 1: ``'decoder'`` and ``'slot_prior'`` (the
            FMU's queries). Defaults to both.
        remap_dictionary (bool): Whether to match classes by character where ``checkpoint`` was
            trained with another dictionary. Defaults to False: it is refused.
        typeset (bool): Whether to train the FMU, too, on text that is set like an image of it, and
            an encoder before it if the FMU has no layers of its own; see
            :class:`TypesetPretrainer`. The text embeddings are to have a token a character.
            Defaults to False: the decoder alone, as in the paper.
        twins (Sequence[str]): Other decoders of the recognizer with the same config, such as
            ``'cross_decoder'`` of :class:`CLIP4STR`, that start from the same weights. Defaults
            to ().
        epochs (int, optional): Epochs of stage 1. Defaults to those of its config.
        noise_scale (float, optional): ORP's scale. Defaults to that of the config.
        config (str, optional): Config file of stage 1, with data loaders and a schedule, but
            without the decoder. Defaults to ``configs/_base_/dptr_pretrain.py`` of this package.
        cfg_options (dict, optional): Settings over it by dotted name, such as
            ``{'optim_wrapper.optimizer.lr': 1e-3}``. Defaults to None.
        pretrain_dir (str, optional): Where decoders are cached; share one between work dirs to
            pre-train once for many. Defaults to ``<work_dir>/dptr_pretrain``.

    Raises:
        ValueError: Neither or both of ``embeddings`` and ``checkpoint`` are given.
    """

    def __init__(
        self,
        embeddings: str | dict[str, Any] | None = None,
        orp_bank: str | None = None,
        checkpoint: str | None = None,
        load: Sequence[str] = PARTS,
        remap_dictionary: bool = False,
        typeset: bool = False,
        twins: Sequence[str] = (),
        epochs: int | None = None,
        noise_scale: float | None = None,
        config: str | None = None,
        cfg_options: dict[str, Any] | None = None,
        pretrain_dir: str | None = None,
    ) -> None:
        if (embeddings is None) == (checkpoint is None):
            raise ValueError(
                "DPTRPretrainHook needs either `embeddings`, to run stage 1 on them, or "
                f"`checkpoint`, to load its result; found embeddings={embeddings!r} and "
                f"checkpoint={checkpoint!r}."
            )
        self.embeddings = embeddings
        self.orp_bank = orp_bank
        self.checkpoint = checkpoint
        self.load = tuple(load)
        self.remap_dictionary = remap_dictionary
        self.typeset = typeset
        self.twins = tuple(twins)
        self.epochs = epochs
        self.noise_scale = noise_scale
        self.config = config
        self.cfg_options = cfg_options
        self.pretrain_dir = pretrain_dir
        self._given: dict[str, torch.Size] = {}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Note what ``load_from`` gives."""
        state = checkpoint.get("state_dict", checkpoint)
        tensors = {k: x for k, x in state.items() if isinstance(x, torch.Tensor)}
        self._given = {k.removeprefix("module."): x.shape for k, x in tensors.items()}

    def before_train(self, runner: Runner) -> None:
        """Pre-train, unless it was done, and load the decoder."""
        if runner.iter > 0:
            runner.logger.info("Stage 2 is resumed; its decoder was pre-trained before.")
            return
        if self._is_given(runner):
            return
        checkpoint = self.checkpoint or self._pretrain(runner)
        load_decoder(_unwrapped(runner), checkpoint, self.load, self.remap_dictionary, self.twins)

    def _is_given(self, runner: Runner) -> bool:
        """Say what becomes of a decoder in ``load_from``, and return whether it is kept."""
        prefixes = (f"{DECODER}.", f"{NECK}.") if DECODER in self.load else QUERIES
        parameters = _unwrapped(runner).named_parameters()
        wanted = {k: x.shape for k, x in parameters if k.startswith(prefixes)}
        given = {k: shape for k, shape in self._given.items() if k in wanted}
        if not given:
            return False
        if given != wanted:
            runner.logger.warning(
                "load_from holds only a part of decoder and FMU, or other sizes: those of stage 1 "
                "take their place."
            )
            return False
        runner.logger.warning(
            "load_from holds all of decoder and FMU, which are kept: stage 1 is left out. To "
            "pre-train them, leave out load_from, or its tensors of the decoder."
        )
        return True

    def _pretrain(self, runner: Runner) -> Path:
        """Run stage 1 where it has not been run, and return its decoder."""
        assert self.embeddings is not None
        store = open_text_embeddings(self.embeddings)
        bank = ORPBank(self.orp_bank) if self.orp_bank else None
        cfg = build_pretrain_config(
            runner.cfg.model,
            store,
            bank,
            self.config,
            self.cfg_options,
            self.epochs,
            self.noise_scale,
            survey_images(_unwrapped(runner), runner.train_dataloader.dataset)
            if self.typeset
            else None,
        )
        cfg.randomness = runner.cfg.get("randomness", {})
        key = fingerprint(cfg, store, bank)[:12]
        folder = Path(self.pretrain_dir or Path(runner.work_dir) / "dptr_pretrain") / key
        decoder = folder / EXPORT
        with alone_in(folder):
            if ask_main_process(decoder.is_file):
                runner.logger.info("Stage 1 was run before with the same settings: %s.", decoder)
                return decoder
            runner.logger.info("Stage 1: pre-training the decoder in %s.", folder)
            spelled = self._run(runner, cfg, folder)
            figures = ", ".join(f"{name} {value:.4f}" for name, value in spelled.items())
            runner.logger.info(
                "Stage 1 is done. Words it had not seen: %s.", figures or "not validated"
            )
            if spelled.get("spelling/word_acc", 1.0) < HARDLY_SPELLS:
                runner.logger.warning(
                    "Stage 1 has hardly learnt to spell: what it pre-trained may read less than "
                    "a recognizer from scratch. Raise `epochs`, or give it more words (%d labels "
                    "now).",
                    len(store),
                )
        return decoder

    @staticmethod
    def _run(runner: Runner, cfg: Config, folder: Path) -> dict[str, float]:
        """Run stage 1, and return what it spells of words that it has not seen, if validated."""
        cfg.work_dir = str(folder)
        cfg.launcher = runner._launcher
        cfg.env_cfg = runner.cfg.get("env_cfg", {})
        checkpoint = ask_main_process(partial(find_checkpoint, folder))
        cfg.resume = checkpoint is not None
        if checkpoint:
            cfg.load_from = str(checkpoint)
        if (runner.cfg.get("auto_scale_lr") or {}).get("enable"):
            base = {"base_batch_size": cfg.train_dataloader.batch_size}
            cfg.auto_scale_lr = {**base, **(cfg.get("auto_scale_lr") or {}), "enable": True}
        # Loggers and visualizers are global by name; these must not be the outer runner's.
        cfg.experiment_name = f"dptr_pretrain_{folder.name}_{runner.timestamp}"
        if cfg.get("visualizer"):
            cfg.visualizer.name = cfg.experiment_name
        with isolated_runner():
            stage1 = Runner.from_cfg(cfg)
            stage1.train()
            scalars = stage1.message_hub.log_scalars
            # Its persistent workers must end before those of stage 2 are forked.
            del stage1
            gc.collect()
        return {
            name.removeprefix("val/"): float(history.current())
            for name, history in scalars.items()
            if name.startswith("val/") and "spelling" in name
        }


def _unwrapped(runner: Runner) -> nn.Module:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
