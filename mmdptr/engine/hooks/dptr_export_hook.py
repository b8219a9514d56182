# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Writes what stage 1 is for: the decoder, and what it trained before it."""

from pathlib import Path
from typing import Any

import torch
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmocr.registry import HOOKS

from mmdptr.engine.decoder_loading import QUERIES, pretrained_tensors
from mmdptr.models import DPTRPretrainer, TypesetPretrainer

EXPORT = "decoder.pth"


@HOOKS.register_module()
class DPTRExportHook(Hook):
    """Describes stage 1 in its checkpoints, and writes ``<work_dir>/decoder.pth`` at its end.

    ``decoder.pth`` holds the decoder, the slot prior and their description, without the optimizer
    and without anything of CLIP. The weights are those of the checkpoints: with an
    :class:`EMAHook`, the averaged ones. Runs ``before_save_checkpoint`` and ``after_train``.
    """

    priority = "VERY_LOW"

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Add the description to a checkpoint's meta."""
        checkpoint["meta"]["dptr"] = _describe(_pretrainer(runner))

    @master_only
    def after_train(self, runner: Runner) -> None:
        """Write the decoder."""
        model = _pretrainer(runner)
        checkpoint = {"meta": {}, "state_dict": model.state_dict()}
        runner.call_hook("before_save_checkpoint", checkpoint=checkpoint)
        everything = checkpoint["state_dict"]
        state = pretrained_tensors(everything, model, model.parts)
        state[QUERIES] = everything[QUERIES]
        state = {name: tensor.detach().cpu() for name, tensor in state.items()}
        path = Path(runner.work_dir) / EXPORT
        partial = path.with_suffix(".partial")
        torch.save({"meta": {"dptr": _describe(model)}, "state_dict": state}, partial)
        partial.replace(path)  # an interrupted write must not look like a decoder
        print_log(f"The pre-trained decoder is in {path}.", "current")


def _pretrainer(runner: Runner) -> DPTRPretrainer | TypesetPretrainer:
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    if not isinstance(model, DPTRPretrainer | TypesetPretrainer):
        raise TypeError(
            f"DPTRExportHook belongs to stage 1, whose model is a DPTRPretrainer or "
            f"TypesetPretrainer; found "
            f"{type(model).__name__}. Remove it from custom_hooks."
        )
    return model


def _describe(model: DPTRPretrainer | TypesetPretrainer) -> dict[str, Any]:
    return {
        "decoder": type(model.decoder).__name__,
        "dictionary": list(model.decoder.dictionary.dict),
        "embed_dims": model.embed_dims,
        "parts": list(model.parts),
    }
