# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Draw test images with their predictions and the attention of the FMU's queries."""

import argparse
import warnings
from pathlib import Path

import mmcv
import numpy as np
import torch
from mmengine.config import Config, DictAction
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmocr.registry import DATASETS, MODELS
from torch import nn
from torch.utils.data import Dataset

from mmdptr.extraction.arguments import exit_with_message
from mmdptr.rendering import Fonts
from mmdptr.visualization import Reading, draw_fmu_attention


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("config", help="config of a recognizer with an FMU")
    parser.add_argument("checkpoint", help="its checkpoint")
    parser.add_argument("--out", default="fmu.png", help="the picture, .png, .pdf or .svg")
    parser.add_argument("--num", type=int, default=24, help="images, spread over the test set")
    parser.add_argument("--columns", type=int, default=4, help="images in a row")
    parser.add_argument(
        "--fonts", nargs="+", help="folders of fonts for scripts that Matplotlib's lacks"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, help="settings, key=value")
    return parser.parse_args()


def read(model: nn.Module, dataset: Dataset, index: int) -> Reading:
    """Read one test image and keep what the FMU looked at."""
    item = dataset[index]
    batch = model.data_preprocessor(pseudo_collate([item]), training=False)
    inputs, samples = batch["inputs"], batch["data_samples"]
    with torch.no_grad():
        attention = model.merge_attention(inputs, samples)[0]
        sample = model.predict(inputs, samples)[0]
    if sample.img_path is None:  # of an LMDB: there is what the model gets, in BGR
        image = item["inputs"].permute(1, 2, 0).flip(-1).numpy()
    else:
        image = mmcv.imread(sample.img_path, channel_order="rgb")
    prediction, truth = sample.pred_text.item, sample.gt_text.item
    return Reading(image, truth, prediction, attention.float().cpu().numpy())


@exit_with_message
def main() -> None:
    """Run the tool."""
    args = parse_args()
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    init_default_scope(cfg.get("default_scope", "mmocr"))
    model = MODELS.build(cfg.model)
    load_checkpoint(model, args.checkpoint, map_location="cpu", strict=True)
    model.to(args.device).eval()
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    indices = np.linspace(0, len(dataset) - 1, min(args.num, len(dataset))).astype(int)
    readings = [read(model, dataset, int(index)) for index in indices]
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        fonts = Fonts(args.fonts) if args.fonts else None
        draw_fmu_attention(readings, args.columns, fonts).savefig(args.out, dpi=110)
    right = sum(reading.correct for reading in readings)
    for reading in readings:
        mark = "ok " if reading.correct else "   "
        print(f"{mark} {reading.truth:>20} -> {reading.prediction}")
    print(f"{right} of {len(readings)} read right. Picture: {args.out}")
    if missing := [str(x.message) for x in found if "missing from" in str(x.message)]:
        print(f"It has boxes in place of characters: {missing[0]} Give --fonts that have them.")


if __name__ == "__main__":
    main()
