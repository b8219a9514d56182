# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""What the CPU does for a batch of stage 1 before and beside the model, in one run with its peers.

Embeddings are padded label by label, as with PyTorch's ``pad_sequence`` and samples that MMEngine
moves to the model's device, and all at once; targets are made by MMOCR's ``CEModuleLoss``, and by
:class:`DPTRLoss`. Both give the same, which is checked. A GPU that trains on the batch meanwhile
has to wait for what takes longer than its own work. Labels have 1 + Poisson(7) characters.
"""

import argparse
import statistics
import string
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseDataPreprocessor
from mmengine.registry import init_default_scope
from mmengine.structures import LabelData
from mmocr.registry import MODELS
from mmocr.structures import TextRecogDataSample
from reporting import markdown, parse_arguments, write_report
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mmdptr.engine.pretrain_config import config_folder
from mmdptr.extraction.arguments import exit_with_message
from mmdptr.models import TextEmbeddingPreprocessor

SLOTS = 30
DICTIONARY = "_base_/dicts/lower_english_digits.txt"
Samples = list[TextRecogDataSample]


class LabelByLabel(BaseDataPreprocessor):
    """Fills each memory up to :data:`SLOTS` by repeating its last slot, one after the other."""

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Collate what :func:`concat_collate` gives: ``inputs`` of shape (N, L, D)."""
        data = self.cast_data(data)
        memories = data["inputs"].split([x.memory_length for x in data["data_samples"]])
        filled = []
        for memory, sample in zip(memories, data["data_samples"], strict=True):
            last = [len(memory) - 1] * (SLOTS - len(memory))
            filled.append(memory[[*range(len(memory)), *last]])
            sample.set_metainfo({"memory_length": SLOTS, "valid_ratio": 1.0})
        return {
            "inputs": pad_sequence(filled, batch_first=True),
            "data_samples": data["data_samples"],
        }


def make_batch(labels: int, width: int) -> dict[str, Any]:
    """Make what a data loader of stage 1 gives."""
    rng = np.random.default_rng(0)
    samples = []
    for length in (1 + rng.poisson(7, labels)).clip(max=25):
        text = "".join(rng.choice([*string.ascii_lowercase], length))
        sample = TextRecogDataSample(gt_text=LabelData(item=text))
        ids = np.arange(length + 2)
        sample.set_metainfo({"sample_idx": 0, "memory_length": len(ids), "token_ids": ids})
        samples.append(sample)
    rows = sum(sample.memory_length for sample in samples)
    return {"inputs": torch.randn(rows, width), "data_samples": samples}


def fresh(samples: Samples) -> Samples:
    """Copy samples, so that no targets are there yet: MMOCR makes none twice."""
    return [TextRecogDataSample(gt_text=LabelData(item=x.gt_text.item)) for x in samples]


def targets(samples: Samples) -> Tensor:
    """Return the targets (N, T) of samples."""
    return torch.stack([sample.gt_text.padded_indexes for sample in samples])


def compare(name: str, ways: dict[str, Callable[[], Tensor]], repeats: int) -> dict[str, Any]:
    """Measure ways to the same result in turn, after one turn to warm up."""
    columns: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(repeats + 1):
        results = []
        for way, run in ways.items():
            begin = time.perf_counter()
            results.append(run())
            if turn:
                columns[way].append(1e3 * (time.perf_counter() - begin))
        torch.testing.assert_close(*results, rtol=0, atol=0)
    theirs, ours = (statistics.median(column) for column in columns.values())
    return {
        "task": name,
        "label_by_label_ms": round(theirs, 2),
        "mmdptr_ms": round(ours, 2),
        "ratio_of_medians": round(theirs / ours, 2),
        "repeats_ms": columns,
    }


def measure(labels: int, width: int, repeats: int) -> list[dict[str, Any]]:
    """Compare both ways to pad a batch of labels, and to make its targets."""
    batch = make_batch(labels, width)
    by_label, at_once = LabelByLabel(), TextEmbeddingPreprocessor(num_slots=SLOTS)
    init_default_scope("mmocr")
    dictionary = {
        "type": "Dictionary",
        "dict_file": str(config_folder() / DICTIONARY),
        "with_start": True,
        "with_end": True,
        "same_start_end": True,
        "with_padding": True,
    }
    settings = {"dictionary": dictionary, "max_seq_len": SLOTS}
    mmocrs, own = (MODELS.build({"type": x, **settings}) for x in ("CEModuleLoss", "DPTRLoss"))
    copies = iter([fresh(batch["data_samples"]) for _ in range(2 * (repeats + 1))])
    padding = {
        "label by label": lambda: by_label(batch)["inputs"],
        "mmdptr": lambda: at_once(batch)["inputs"],
    }
    spelling = {
        "label by label": lambda: targets(mmocrs.get_targets(next(copies))),
        "mmdptr": lambda: targets(own.get_targets(next(copies))),
    }
    return [compare("padding", padding, repeats), compare("targets", spelling, repeats)]


@exit_with_message
def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=int, default=256, help="a batch; default: %(default)s")
    parser.add_argument(
        "--width", type=int, default=512, help="of embeddings; default: %(default)s"
    )
    parser.add_argument("--repeats", type=int, default=20, help="default: %(default)s")
    args = parse_arguments(parser)
    rows = measure(args.labels, args.width, args.repeats)
    cells = [
        {
            f"batch of {args.labels}": row["task"],
            "label by label, ms": row["label_by_label_ms"],
            "mmdptr, ms": row["mmdptr_ms"],
            "ratio": row["ratio_of_medians"],
        }
        for row in rows
    ]
    print(markdown(cells))
    write_report(args.json, rows, labels=args.labels, width=args.width)


if __name__ == "__main__":
    main()
