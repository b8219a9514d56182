# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""What typeset text has to look like: as the images of a training, where text is read."""

import random
import statistics
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from torch.utils.data import Dataset

from mmdptr.engine.isolation import isolated_runner
from mmdptr.models import CLIP4STR, DPTRRecognizer
from mmdptr.writing import graphemes

IMAGES = 32


def survey_images(model: torch.nn.Module, dataset: Dataset) -> dict[str, Any]:
    """Look at the first images of a training.

    Args:
        model (nn.Module): The recognizer.
        dataset (Dataset): The images that it is trained on.

    Returns:
        dict: ``feature_shape``, of what is read of the widest image (see
        :class:`TypesetPretrainer`), and ``character_width``, the median columns of a character if
        images are padded to one width, by their pipeline or in batches, else None. The same each
        time.

    Raises:
        ValueError: The recognizer is neither a :class:`DPTRRecognizer` nor a :class:`CLIP4STR`.
    """
    if not isinstance(model, DPTRRecognizer | CLIP4STR):
        raise ValueError(
            "Typeset text is for a DPTRRecognizer or CLIP4STR, found "
            f"{type(model).__name__}. Set the hook's typeset=False."
        )
    with isolated_runner():  # loading an image draws random numbers
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)
        images = [dataset[i] for i in range(min(IMAGES, len(dataset)))]  # type: ignore[arg-type]
        widest = max(images, key=_width)
        batch = model.data_preprocessor(pseudo_collate([widest]))
        shape = model.feature_shape(**batch)
    columns = shape[-1] if len(shape) == 3 else shape[0]
    widths = []
    for image in images:
        valid = image["data_samples"].get("valid_ratio", 1.0)
        ratio = valid * _width(image) / _width(widest)
        text = graphemes(image["data_samples"].gt_text.item)
        if text and ratio < 1:
            widths.append(columns * ratio / len(text))
    width = round(statistics.median(widths), 2) if widths else None
    return {"feature_shape": list(shape), "character_width": width}


def _width(image: dict[str, Any]) -> int:
    return image["inputs"].shape[-1]
