# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""How a decoder reads visual memory; one description for both stages."""

import inspect
from dataclasses import dataclass
from typing import Any

from mmocr.registry import MODELS
from torch import Tensor

SITES = ("out_enc", "feat")
FORMS = ("sequence", "row")


@dataclass(frozen=True)
class MemoryLayout:
    """The form of memory that a decoder reads, used in pre-training and in fine-tuning alike.

    Args:
        site (str): The decoder's argument that carries the memory: ``'out_enc'`` (after the
            encoder) or ``'feat'`` (after the backbone). The FMU sits there.
        form (str): ``'sequence'`` for (N, L, C) or ``'row'`` for (N, C, 1, L), with N samples, L
            tokens and C channels.
        width (str): The constructor argument of the decoder that is C.
        with_position (bool): Whether neither backbone nor encoder knows positions, so that the
            recognizer adds them before its encoder, and the FMU to its keys. Defaults to True.
        any_length (bool): Whether the decoder is causal and trains on targets of any length, not
            only of ``max_seq_len``; stage 1 then does not compute padding. Defaults to False.

    Raises:
        ValueError: Unknown site or form.
    """

    site: str
    form: str
    width: str
    with_position: bool = True
    any_length: bool = False

    def __post_init__(self) -> None:
        for name, value, known in (("site", self.site, SITES), ("form", self.form, FORMS)):
            if value not in known:
                raise ValueError(
                    f"Unknown memory {name} {value!r}. Expected one of {', '.join(known)}."
                )

    def width_of(self, decoder: dict[str, Any]) -> int:
        """Return C of a decoder's config, its class's own default included."""
        return int(argument_of(decoder, self.width))

    def tokens(self, feat: Tensor | None, out_enc: Tensor | None) -> tuple[Tensor, tuple[int, int]]:
        """Flatten what stands at the site to tokens.

        Args:
            feat (Tensor, optional): Backbone output of shape (N, C, H, W), or (N, L, C).
            out_enc (Tensor, optional): Encoder output of shape (N, L, C) or (N, C, H, W).

        Returns:
            tuple[Tensor, tuple[int, int]]: Tokens of shape (N, L, C), row by row, and their grid
            (H, W) with H * W = L; (1, L) where it is not known.
        """
        memory = out_enc if self.site == "out_enc" else feat
        if memory is None:
            raise ValueError(
                f"The decoder reads its memory from {self.site!r}, but the recognizer has none "
                "there. Name another layout by the recognizer's `memory` argument."
            )
        if memory.dim() == 4:
            return memory.flatten(2).transpose(1, 2), (memory.shape[2], memory.shape[3])
        if feat is not None and feat.dim() == 4 and feat[0, 0].numel() == memory.shape[1]:
            return memory, (feat.shape[2], feat.shape[3])
        return memory, (1, memory.shape[1])

    def arrange(self, memory: Tensor) -> dict[str, Tensor]:
        """Give memory (N, L, C) the decoder's form, by the decoder's argument name."""
        if self.form == "row":
            memory = memory.transpose(1, 2).unsqueeze(2)
        return {self.site: memory}


def argument_of(decoder: dict[str, Any], name: str) -> Any:
    """Return a constructor argument of a decoder config, or the class's default for it.

    Raises:
        ValueError: The decoder has no such argument, or it has no default and is not set.
    """
    if name in decoder:
        return decoder[name]
    for cls in MODELS.get(decoder["type"]).__mro__:
        parameter = inspect.signature(cls).parameters.get(name)
        if parameter is not None and parameter.default is not inspect.Parameter.empty:
            return parameter.default
    raise ValueError(
        f"The decoder {decoder['type']} does not set {name!r} and has no default for it. Set it in "
        "the decoder's config, or name another argument in its memory layout."
    )
