# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Read the test sets of a config with a finished recognizer: how high do accuracies go there?

PP-OCRv6-small by rapidocr (pip install "mmdptr[study]"), trained on far more images than a study
has, reads the same files, judged by the same metric. Detection and turning are off.
"""

import argparse
import statistics
from importlib.metadata import version
from pathlib import Path

import mmcv
import rapidocr
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import LabelData
from mmocr.registry import DATASETS, METRICS
from mmocr.structures import TextRecogDataSample
from run import write_json
from tabulate import tabulate
from tqdm import tqdm

import mmdptr  # noqa: F401
from mmdptr.extraction.arguments import exit_with_message


def read(recognizer: rapidocr.RapidOCR, path: str) -> str:
    """Return the text in an image of one line, nothing if none is found."""
    found = recognizer(mmcv.imread(path), use_det=False, use_cls=False)
    return found.txts[0] if found.txts else ""


def sample(truth: str, prediction: str) -> TextRecogDataSample:
    """Return a sample as metrics take it."""
    result = TextRecogDataSample()
    result.gt_text, result.pred_text = LabelData(item=truth), LabelData(item=prediction)
    return result


@exit_with_message
def main() -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("config", help="such as configs/mini/dptr_nrtr_mini.py")
    parser.add_argument("--images", type=int, help="of each set; default: all")
    parser.add_argument("--out", type=Path, help="JSON with the accuracies")
    args = parser.parse_args()
    cfg = Config.fromfile(args.config)
    init_default_scope("mmocr")
    recognizer = rapidocr.RapidOCR(params={"Global.log_level": "error", "Global.text_score": 0.0})
    accuracies: dict[str, dict[str, float]] = {}
    sets = cfg.test_dataloader.dataset.datasets
    for name, settings in zip(cfg.test_evaluator.dataset_prefixes, sets, strict=True):
        dataset = DATASETS.build(settings)
        metric = METRICS.build(cfg.test_evaluator.metrics[0])
        indices = range(len(dataset))[: args.images]
        for index in tqdm(indices, desc=name, unit="image"):
            info = dataset.get_data_info(index)
            text = read(recognizer, info["img_path"])
            metric.process([], [sample(info["instances"][0]["text"], text).to_dict()])
        accuracies[name] = metric.evaluate(len(indices))
    means = {
        key: statistics.fmean(found[key] for found in accuracies.values())
        for key in next(iter(accuracies.values()))
    }
    rows = [
        {"set": name, **{key: f"{100 * value:.1f}" for key, value in found.items()}}
        for name, found in {**accuracies, "average": means}.items()
    ]
    print(tabulate(rows, headers="keys", tablefmt="pipe", disable_numparse=True))
    if args.out:
        content = {"model": f"rapidocr {version('rapidocr')}", "accuracies": accuracies}
        write_json(args.out, {**content, "average": means})


if __name__ == "__main__":
    main()
