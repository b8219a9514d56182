# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Which decoder reads which memory layout."""

from typing import Any

from mmocr.registry import MODELS

from .memory_layout import MemoryLayout

_LAYOUTS: dict[str, MemoryLayout] = {
    "NRTRDecoder": MemoryLayout("out_enc", "sequence", "d_model", any_length=True),  # SATRN, too
    "MasterDecoder": MemoryLayout("feat", "sequence", "d_model", any_length=True),
    # What text taught does not come through a BiLSTM that has yet to learn.
    "ASTERDecoder": MemoryLayout("feat", "sequence", "in_channels", in_place_of_encoder=True),
    "ParallelSARDecoder": MemoryLayout("feat", "row", "d_model", any_length=True, holistic="d_enc"),
    "SequentialSARDecoder": MemoryLayout("feat", "row", "d_model", holistic="d_enc"),
    "RobustScannerFuser": MemoryLayout("feat", "row", "hybrid_decoder.dim_input"),
    # The U-Net of its attention is made for 8 x 32.
    "ABIVisionDecoder": MemoryLayout("out_enc", "grid", "in_channels", grid=(8, 32)),
    "ABIFuser": MemoryLayout("out_enc", "grid", "vision_decoder.in_channels", grid=(8, 32)),
    "PARSeqDecoder": MemoryLayout("feat", "sequence", "d_model", any_length=True),
    "CRNNDecoder": MemoryLayout("feat", "row", "in_channels", slots_per_token=2),
    "SVTRDecoder": MemoryLayout("out_enc", "row", "in_channels", slots_per_token=2),
}


def register_memory_layout(decoder: str, layout: MemoryLayout) -> None:
    """Say how a decoder reads memory, by the name of its class.

    Raises:
        ValueError: The decoder has another layout already.
    """
    if _LAYOUTS.setdefault(decoder, layout) != layout:
        raise ValueError(
            f"{decoder} has the layout {_LAYOUTS[decoder]} already; it cannot become {layout}. "
            "Register under another class name, or set the recognizer's `memory` argument."
        )


def find_memory_layout(
    decoder: dict[str, Any], memory: str | dict[str, Any] | None = None
) -> MemoryLayout:
    """Return the layout of a decoder.

    Args:
        decoder (dict): The decoder's config.
        memory (str or dict, optional): The name of a decoder whose layout to use, or the arguments
            of :class:`MemoryLayout`. Defaults to None: what is registered for the decoder's class
            or the nearest of its base classes.

    Raises:
        ValueError: No layout is known.
    """
    if isinstance(memory, dict):
        return MemoryLayout(**memory)
    if memory is not None:
        names = [memory]
    else:
        cls = MODELS.get(decoder["type"])
        if cls is None:
            raise ValueError(
                f"The decoder {decoder['type']!r} is not registered. Import its module."
            )
        names = [base.__name__ for base in cls.__mro__]
    for name in names:
        if name in _LAYOUTS:
            return _LAYOUTS[name]
    raise ValueError(
        f"No memory layout is known for {names[0]}. Known are {', '.join(sorted(_LAYOUTS))}. Call "
        "mmdptr.models.register_memory_layout, or set memory=dict(site=..., form=..., width=...)."
    )
