# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""From a sample of text embeddings to model inputs."""

from typing import Any

from mmcv.transforms import BaseTransform
from mmengine.structures import LabelData
from mmocr.registry import TRANSFORMS
from mmocr.structures import TextRecogDataSample


@TRANSFORMS.register_module()
class PackTextEmbeddings(BaseTransform):
    """Packs an embedding and its label for :class:`DPTRPretrainer`.

    Required keys: ``embedding``, ``token_ids``, ``text``. Result: ``inputs``, the memory (L, D) in
    float32, and ``data_samples``, a :class:`TextRecogDataSample` with the label in ``gt_text``,
    the length L as ``memory_length`` and the ``token_ids`` of its slots.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack one sample."""
        sample = TextRecogDataSample(gt_text=LabelData(item=results["text"]))
        memory = results["embedding"].float()
        facts = {
            "sample_idx": results.get("sample_idx"),
            "memory_length": len(memory),
            # Not a tensor: workers hand over each tensor by a file of its own.
            "token_ids": results["token_ids"].numpy(),
        }
        for name, fact in facts.items():  # set_metainfo would copy each deeply
            sample.set_field(fact, name, field_type="metainfo")
        return {"inputs": memory, "data_samples": sample}
