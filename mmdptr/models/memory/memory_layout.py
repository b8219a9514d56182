# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""How a decoder reads visual memory; one description for both stages."""

import inspect
from dataclasses import dataclass
from typing import Any

from mmocr.registry import MODELS
from torch import Tensor
from torch.nn import functional as F

SITES = ("out_enc", "feat")
FORMS = ("sequence", "row", "grid")


@dataclass(frozen=True)
class MemoryLayout:
    """The form of memory that a decoder reads, used in pre-training and in fine-tuning alike.

    Args:
        site (str): Where the FMU sits, and the decoder's argument that carries the memory:
            ``'out_enc'`` (after the encoder) or ``'feat'`` (after the backbone; an encoder then
            runs over the memory and is pre-trained with the decoder).
        form (str): ``'sequence'`` for (N, L, C), ``'row'`` for (N, C, 1, L) or ``'grid'`` for
            (N, C, H, W), with N samples, L slots and C channels.
        width (str): The constructor argument of the decoder that is C; ``'part.argument'`` for the
            argument of a part. The first value if it is a list.
        any_length (bool): Whether the decoder is causal and trains on targets of any length, not
            only of ``max_seq_len``; stage 1 then does not compute padding. Defaults to False.
        grid (tuple[int, int], optional): Height and width of a grid: each slot is a column, the
            same in every row. More or fewer slots are interpolated. Defaults to None.
        slots_per_token (int): Slots that a token of text takes. Decoders with CTC need two, so that
            there is room for a blank between equal characters. Defaults to 1.
        holistic (str, optional): The constructor argument of the decoder that is the width of the
            vector that it reads as ``out_enc`` besides the memory: the first slot, which in stage 1
            is CLIP's pooled feature. Its encoder is left out. Defaults to None: the decoder reads
            no such vector, or what its encoder makes of the memory.
        in_place_of_encoder (bool): Whether the FMU sits at ``'feat'`` and the decoder reads its
            memory as ``out_enc``. The encoder is left out; the FMU's own layers can stand in for
            it. Defaults to False.

    Raises:
        ValueError: Unknown site or form; a grid without its size, or a size without a grid; an FMU
            in the encoder's place that sits after it.
    """

    site: str
    form: str
    width: str
    any_length: bool = False
    grid: tuple[int, int] | None = None
    slots_per_token: int = 1
    holistic: str | None = None
    in_place_of_encoder: bool = False

    def __post_init__(self) -> None:
        for name, value, known in (("site", self.site, SITES), ("form", self.form, FORMS)):
            if value not in known:
                raise ValueError(
                    f"Unknown memory {name} {value!r}. Expected one of {', '.join(known)}."
                )
        if (self.form == "grid") != (self.grid is not None):
            raise ValueError(
                f"A memory of form {self.form!r} has grid={self.grid}. Give form='grid' the "
                "grid=(height, width) that the decoder reads, other forms none."
            )
        if self.in_place_of_encoder and self.site != "feat":
            raise ValueError(
                f"An FMU in the encoder's place sits at 'feat', found site={self.site!r}. Give "
                "site='feat', or leave out in_place_of_encoder."
            )

    def width_of(self, decoder: dict[str, Any]) -> int:
        """Return C of a decoder's config, its class's own default included.

        Raises:
            ValueError: The first slot is to be the holistic vector, which has another width.
        """
        value = argument_of(decoder, self.width)
        width = int(value[0] if isinstance(value, list | tuple) else value)
        if self.holistic and (other := argument_of(decoder, self.holistic)) != width:
            raise ValueError(
                f"{decoder['type']} has {self.width}={width} and {self.holistic}={other}, but its "
                "holistic vector is the first slot of the memory. Make them equal, or let its "
                "encoder make the vector: "
                f"memory=dict(site={self.site!r}, form={self.form!r}, width={self.width!r})."
            )
        return width

    def tokens_of(self, decoder: dict[str, Any]) -> int:
        """Return how many tokens every memory is filled up to in stage 1.

        They are as many as the longest label can have, or as a grid has columns: each slot is a
        column then, and none is interpolated.
        """
        return self.grid[1] if self.grid else int(argument_of(decoder, "max_seq_len"))

    def slots_of(self, decoder: dict[str, Any]) -> int:
        """Return how many slots the FMU gives a decoder: those of all tokens."""
        return self.tokens_of(decoder) * self.slots_per_token

    @property
    def reads_encoder(self) -> bool:
        """bool: Whether an encoder runs over the memory, so that both stages must share it."""
        return self.site == "feat" and not self.leaves_out_encoder

    @property
    def leaves_out_encoder(self) -> bool:
        """bool: Whether the recognizer's encoder does not run: all it would give is memory."""
        return self.in_place_of_encoder or self.holistic is not None

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
        """Give memory (N, L, C) the decoder's form, by the decoder's argument names."""
        arranged = memory
        if self.form != "sequence":
            arranged = memory.transpose(1, 2).unsqueeze(2)
        if self.grid is not None:
            row = F.interpolate(arranged.squeeze(2), self.grid[1], mode="linear")
            arranged = row.unsqueeze(2).repeat(1, 1, self.grid[0], 1)
        if self.holistic:
            return {self.site: arranged, "out_enc": memory[:, 0]}
        return {"out_enc" if self.in_place_of_encoder else self.site: arranged}


def argument_of(config: dict[str, Any], name: str) -> Any:
    """Return a constructor argument of a decoder config, or the class's default for it.

    Args:
        config (dict): The config.
        name (str): The argument, or ``'part.argument'`` for that of a config inside it.

    Raises:
        ValueError: The decoder has no such argument, or it has no default and is not set.
    """
    part, _, rest = name.partition(".")
    value = config[part] if part in config else _default_of(config["type"], part)
    return argument_of(value, rest) if rest else value


def _default_of(decoder: str, name: str) -> Any:
    for cls in MODELS.get(decoder).__mro__:
        parameter = inspect.signature(cls).parameters.get(name)
        if parameter is not None and parameter.default is not inspect.Parameter.empty:
            return parameter.default
    raise ValueError(
        f"The decoder {decoder} does not set {name!r} and has no default for it. Set it in the "
        "decoder's config, or name another argument in its memory layout."
    )
