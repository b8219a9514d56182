# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Taking a pre-trained decoder over into a recognizer, and making sure that it was."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from mmocr.models.common import Dictionary
from mmocr.models.textrecog.recognizers import BaseRecognizer
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .dictionary_remapping import remap_classes

DECODER = "decoder"
ENCODER = "encoder"
NECK = "neck"
SLOT_PRIOR = "slot_prior"
PARTS = (DECODER, SLOT_PRIOR)

QUERIES = "neck.queries"
"""str: Where a state dict keeps the slot prior, and the FMU its queries."""


@dataclass(frozen=True)
class Coverage:
    """How much of a recognizer came from stage 1.

    Args:
        loaded (int): Tensors that were loaded, all of them if ``decoder`` was asked for.
        parameters (int): Values in them.
        slots (int): FMU queries that start from the slot prior.
        parts (tuple[str]): What the tensors are of. Defaults to the decoder.
    """

    loaded: int
    parameters: int
    slots: int
    parts: tuple[str, ...] = (DECODER,)

    def __str__(self) -> str:
        return (
            f"{self.loaded} tensors of {' and '.join(self.parts)} ({self.parameters / 1e6:.2f} M "
            f"values, coverage {'100 %' if self.loaded else 'none'}), {self.slots} FMU queries "
            "from the slot prior"
        )


def load_decoder(
    recognizer: BaseRecognizer,
    checkpoint: str | Path,
    parts: Collection[str] = PARTS,
    remap_dictionary: bool = False,
    twins: Sequence[str] = (),
) -> Coverage:
    """Load what stage 1 learnt into a recognizer, completely or not at all.

    Args:
        recognizer (BaseRecognizer): The recognizer, with ``decoder`` and perhaps an FMU
            as ``neck``.
        checkpoint (str or Path): A checkpoint of stage 1, or the ``decoder.pth`` that
            :class:`DPTRExportHook` wrote.
        parts (Collection[str]): ``'decoder'`` for its weights, and those of encoder and FMU if
            stage 1 trained them; ``'slot_prior'`` to let the queries of an FMU that it did not
            train start at the mean pseudo memory of their slots. Defaults to both.
        remap_dictionary (bool): Whether to match classes by character where the dictionaries
            differ, instead of refusing the checkpoint. Characters that it lacks stay untrained.
            Defaults to False.
        twins (Sequence[str]): Other decoders of the recognizer with the same config, such as
            ``'cross_decoder'`` of :class:`CLIP4STR`, that start from the same weights. Defaults
            to ().

    Returns:
        Coverage: What was loaded.

    Raises:
        FileNotFoundError: No such checkpoint.
        ValueError: Unknown part; not a checkpoint of stage 1; other characters in the dictionary;
            or a tensor that is missing, left over, of another shape or not finite.
    """
    unknown = sorted(set(parts).difference(PARTS))
    if unknown:
        raise ValueError(f"Unknown parts {unknown}. Expected some of {', '.join(PARTS)}.")
    state, meta = read_checkpoint(checkpoint)
    theirs, ours = meta.get("dictionary") or [], recognizer.decoder.dictionary.dict
    # Earlier checkpoints do not say it, but hold an encoder only if stage 1 trained it.
    found = {key.partition(".")[0] for key in state}
    trained = meta.get("parts") or [x for x in (ENCODER, DECODER) if x == DECODER or x in found]
    if not remap_dictionary:
        check_dictionary(theirs, recognizer.decoder.dictionary, checkpoint)
    loaded, prior = {}, None
    if DECODER in parts:
        expected = pretrained_tensors(recognizer.state_dict(), recognizer, trained)
        loaded = pretrained_tensors(state, recognizer, trained)
        if theirs != ours:
            loaded = remap_classes(loaded, expected, theirs, ours)
            new = sorted(set(ours).difference(theirs))
            print_log(f"Classes are matched by character; untrained are {new}.", "current")
        _check_tensors(loaded, expected, checkpoint)
        for twin in twins:
            expected = recognizer.get_submodule(twin).state_dict(prefix=f"{twin}.")
            copies = {_renamed(k, twin): v for k, v in loaded.items() if k.startswith("decoder.")}
            _check_tensors(copies, expected, checkpoint)
            loaded |= copies
    neck = None if DECODER in parts and NECK in trained else getattr(recognizer, "neck", None)
    if SLOT_PRIOR in parts and neck is not None:  # else its queries came with all of it
        prior = _checked_prior(state.get(QUERIES), neck.queries, checkpoint)
    # Only now is it known that everything fits.
    recognizer.load_state_dict(loaded, strict=False)
    slots = 0 if prior is None else _load_queries(recognizer.neck.queries, prior)
    values = sum(tensor.numel() for tensor in loaded.values())
    coverage = Coverage(len(loaded), values, slots, tuple(trained))
    print_log(f"Loaded from {checkpoint}: {coverage}.", "current")
    return coverage


def _renamed(key: str, twin: str) -> str:
    return f"{twin}.{key.removeprefix('decoder.')}"


def pretrained_tensors(
    state: Mapping[str, Tensor], model: nn.Module, parts: Collection[str]
) -> dict[str, Tensor]:
    """Pick what stage 1 teaches out of a state dict.

    Statistics of batch normalization stay behind: those of text features are not those of images.

    Args:
        state (Mapping[str, Tensor]): State dict of a recognizer or of a model of stage 1.
        model (nn.Module): The recognizer or pre-trainer, which knows its layers.
        parts (Collection[str]): What stage 1 trained, such as ``'decoder'``.
    """
    prefixes = tuple(f"{part}." for part in parts)
    statistics = {
        f"{name}.{buffer}"
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm)
        for buffer, _ in module.named_buffers(recurse=False)
    }
    return {k: v for k, v in state.items() if k.startswith(prefixes) and k not in statistics}


def read_checkpoint(checkpoint: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of a stage-1 checkpoint and what stage 1 wrote about itself."""
    path = Path(checkpoint)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist. Run stage 1 first, or give its decoder.pth or epoch_*.pth."
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        state, meta = content["state_dict"], content["meta"]["dptr"]
    except Exception as error:
        # torch raises half a dozen types for damaged files; all mean the same to the user.
        raise ValueError(
            f"{path} is not a readable checkpoint of stage 1 ({type(error).__name__}: {error}). "
            "Give the decoder.pth or epoch_*.pth of a run with DPTRPretrainer and DPTRExportHook."
        ) from error
    return state, meta


def check_dictionary(
    characters: list[str] | None, dictionary: Dictionary, checkpoint: str | Path
) -> None:
    """Refuse a decoder whose classes are other characters, or in another order.

    Raises:
        ValueError: The dictionaries differ; the message names the characters.
    """
    if characters == dictionary.dict:
        return
    theirs, ours = set(characters or []), set(dictionary.dict)
    if theirs == ours:
        differ = "the same characters in another order"
    else:
        differ = (
            f"{sorted(theirs - ours)} are only in the checkpoint's, "
            f"{sorted(ours - theirs)} only in the recognizer's"
        )
    raise ValueError(
        f"The decoder of {checkpoint} was trained with another dictionary: {differ}. Use the same "
        "dict_file and special tokens in both stages, run stage 1 again, or match the classes by "
        "character with remap_dictionary=True."
    )


def _check_tensors(
    loaded: dict[str, Tensor], expected: dict[str, Tensor], checkpoint: str | Path
) -> None:
    missing = sorted(expected.keys() - loaded.keys())
    surplus = sorted(loaded.keys() - expected.keys())
    shapes = [
        f"{k} is {tuple(loaded[k].shape)} there and {tuple(expected[k].shape)} here"
        for k in sorted(expected.keys() & loaded.keys())
        if loaded[k].shape != expected[k].shape
    ]
    broken = [k for k, v in loaded.items() if v.is_floating_point() and not torch.isfinite(v).all()]
    for what, names in (
        ("lacks", missing),
        ("holds, but the recognizer's decoder does not have,", surplus),
        ("has other shapes:", shapes),
        ("is not finite in", broken),
    ):
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            raise ValueError(
                f"{checkpoint} {what} {', '.join(names[:5])}{more}; of {len(expected)} decoder "
                "tensors nothing was loaded. Pre-train with the same decoder config as is "
                "fine-tuned."
            )


def _checked_prior(prior: Tensor | None, queries: Tensor, checkpoint: str | Path) -> Tensor:
    """Refuse a slot prior that the FMU's queries cannot start from."""
    if prior is None:
        found = "none"
    elif prior.shape[1] != queries.shape[1]:
        found = f"one of width {prior.shape[1]}"
    elif not torch.isfinite(prior).all():
        found = "one that is not finite"
    else:
        return prior
    raise ValueError(
        f"The FMU's queries of width {queries.shape[1]} cannot start from the slot prior of "
        f"{checkpoint}, which holds {found}; nothing was loaded. Pre-train with the same decoder, "
        "or leave 'slot_prior' out."
    )


@torch.no_grad()
def _load_queries(queries: Tensor, prior: Tensor) -> int:
    """Copy the prior of as many slots as both have."""
    slots = min(len(queries), len(prior))
    queries[:slots] = prior[:slots]
    return slots
