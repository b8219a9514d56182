# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Time and texts of a trained recognizer with our decoder and with MMOCR's, on its test images.

Both read the same batches with the same weights in turn, in one run: MMOCR's side is the same
recognizer with the ``forward_test`` of MMOCR's decoder in the place of ours. All texts and scores
are compared; what counts is the ratio of the medians over the batches.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmocr.registry import DATASETS, MODELS
from reporting import markdown, parse_arguments, write_report
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from mmdptr.extraction.arguments import exit_with_message


def find_classes(decoder: Any) -> tuple[Any, Any]:
    """Return the class of ours that decodes, and MMOCR's class whose decoding it replaces.

    Raises:
        ValueError: The decoder's decoding is MMOCR's own.
    """
    decoding = [x for x in type(decoder).__mro__ if "forward_test" in vars(x)]
    theirs = next(x for x in decoding if x.__module__.startswith("mmocr."))
    ours = decoding[decoding.index(theirs) - 1] if decoding[0] is not theirs else theirs
    if ours is theirs:
        raise ValueError(
            f"{type(decoder).__name__} decodes as in MMOCR, there is nothing to compare. Give a "
            "config with one of the Cached... decoders."
        )
    return ours, theirs


def read(model: Any, batch: dict[str, Any]) -> tuple[float, list[tuple[str, list[float]]]]:
    """Return the seconds of a prediction, and its texts with their scores."""
    begin = time.perf_counter()
    samples = model.test_step({key: list(value) for key, value in batch.items()})
    seconds = time.perf_counter() - begin
    return seconds, [(x.pred_text.item, list(x.pred_text.score)) for x in samples]


def compare(model: Any, loader: DataLoader) -> dict[str, Any]:
    """Read all batches both ways, in turn."""
    ours, theirs = find_classes(model.decoder)
    seconds: dict[str, list[float]] = {"mmocr": [], "mmdptr": []}
    same, number, difference = 0, 0, 0.0
    for batch in tqdm(loader, unit="batch"):
        ours_s, ours_texts = read(model, batch)
        with patch.object(ours, "forward_test", theirs.forward_test):
            theirs_s, theirs_texts = read(model, batch)
        seconds["mmocr"].append(theirs_s)
        seconds["mmdptr"].append(ours_s)
        for (text, scores), (peer, peer_scores) in zip(ours_texts, theirs_texts, strict=True):
            number += 1
            same += text == peer
            if text == peer:
                gaps = (abs(a - b) for a, b in zip(scores, peer_scores, strict=True))
                difference = max(difference, *gaps, 0.0)
    medians = {key: statistics.median(column) for key, column in seconds.items()}
    return {
        "decoder": ours.__name__,
        "images": number,
        "same_texts": same,
        "max_score_difference": difference,
        "mmocr_s_a_batch": round(medians["mmocr"], 3),
        "mmdptr_s_a_batch": round(medians["mmdptr"], 3),
        "ratio_of_medians": round(medians["mmocr"] / medians["mmdptr"], 1),
        "seconds": seconds,
    }


@exit_with_message
def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="of a recognizer with one of our decoders")
    parser.add_argument("checkpoint", help="its trained weights")
    parser.add_argument("--images", type=int, default=3000, help="default: %(default)s")
    parser.add_argument("--batch", type=int, default=64, help="default: %(default)s")
    args = parse_arguments(parser)
    init_default_scope("mmocr")
    cfg = Config.fromfile(args.config)
    model = MODELS.build(cfg.model).eval()
    load_checkpoint(model, args.checkpoint, map_location="cpu", strict=True)
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    step = max(1, len(dataset) // args.images)
    chosen = Subset(dataset, range(0, len(dataset), step)[: args.images])
    loader = DataLoader(chosen, args.batch, collate_fn=pseudo_collate)
    row = compare(model, loader)
    cells = {
        "decoder": row["decoder"],
        "images": row["images"],
        "same texts": row["same_texts"],
        "MMOCR, a batch": f"{row['mmocr_s_a_batch']:.2f} s",
        "mmdptr": f"{row['mmdptr_s_a_batch']:.2f} s",
        "ratio": f"{row['ratio_of_medians']:.1f}",
    }
    print(markdown([cells]))
    write_report(args.json, [row], config=Path(args.config).name, batch=args.batch)


if __name__ == "__main__":
    main()
