# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Data samples with more facts, for a batch."""

from typing import Any

from mmengine.structures import LabelData
from mmocr.structures import TextRecogDataSample


def annotate(sample: TextRecogDataSample, **facts: Any) -> TextRecogDataSample:
    """Copy a sample and add facts to it; targets that are written into the copy are its own.

    MMEngine's ``new`` and ``to`` copy all facts deeply, one by one, which takes longer than to pad
    the batch.

    Args:
        sample (TextRecogDataSample): Any sample.
        **facts: Meta information by name.
    """
    copy = TextRecogDataSample()
    for name, fact in (*sample.metainfo_items(), *facts.items()):
        copy.set_field(fact, name, field_type="metainfo")
    for name, data in sample.items():
        own = LabelData(**dict(data.items())) if isinstance(data, LabelData) else data
        copy.set_data({name: own})
    return copy
