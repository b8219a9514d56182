# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Word accuracy of words that training has seen, and of those that it has not."""

from collections.abc import Sequence
from typing import Any

from mmocr.evaluation.metrics import WordMetric
from mmocr.registry import DATASETS, METRICS


@METRICS.register_module()
class SeenWordMetric(WordMetric):
    """MMOCR's word metric, for words that are labels of the training images and for others, too.

    A recognizer that knows its vocabulary by heart reads the first well and the second badly.
    Words are compared as in mode ``ignore_case_symbol``: without case and symbols. Besides what
    ``WordMetric`` gives, every accuracy comes with ``_seen`` and ``_unseen`` behind its name, and
    ``num_seen`` and ``num_unseen`` are the numbers of words. Accuracies of no words are left out.

    Args:
        train_dataset (dict): The training set, as in ``train_dataloader.dataset``; its labels are
            read, its images are not.
        **kwargs: Arguments of ``mmocr.evaluation.WordMetric``.
    """

    def __init__(self, train_dataset: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        dataset = DATASETS.build(train_dataset)
        self.words = {
            self._plain(instance["text"])
            for index in range(len(dataset))
            for instance in dataset.get_data_info(index)["instances"]
        }

    def process(self, data_batch: Sequence[dict], data_samples: Sequence[dict]) -> None:
        """Compare predictions with ground truth, and note whether training has seen the words."""
        first = len(self.results)
        super().process(data_batch, data_samples)
        for result, sample in zip(self.results[first:], data_samples, strict=True):
            result["seen"] = self._plain(sample["gt_text"]["item"]) in self.words

    def compute_metrics(self, results: Sequence[dict]) -> dict[str, float]:
        """Compute the accuracies of all words, of those seen, and of those not seen."""
        metrics = super().compute_metrics(results)
        for name, seen in {"seen": True, "unseen": False}.items():
            part = [result for result in results if result["seen"] is seen]
            metrics[f"num_{name}"] = len(part)
            if part:
                accuracies = super().compute_metrics(part)
                metrics |= {f"{key}_{name}": value for key, value in accuracies.items()}
        return metrics

    def _plain(self, text: str) -> str:
        lowered = text.lower()
        # Of words of symbols, or of a script that valid_symbol leaves out, nothing else would be
        # left to tell them apart by.
        return self.valid_symbol.sub("", lowered) or lowered
