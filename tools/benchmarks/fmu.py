# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""What an FMU costs in fine-tuning: none, the paper's, and with layers, in turn in one run.

The peer is the same recognizer without FMU, on the same random images and words. A step is forward
and backward, without the optimizer. The decoder's own time counts, and it reads a memory of fewer
slots where there is an FMU. Reading is not measured: untrained decoders end a text at random.
"""

import argparse
import copy
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import LabelData
from mmocr.registry import MODELS
from mmocr.structures import TextRecogDataSample
from reporting import markdown, parse_arguments, write_report
from tqdm import tqdm

from mmdptr.extraction.arguments import exit_with_message

VARIANTS: dict[str, dict[str, Any] | None] = {
    "no FMU": None,
    "FMU as in the paper": {"num_layers": 0},
    "FMU with 2 layers": {"num_layers": 2},
}
WORD = "reading"


def build(model: dict[str, Any], neck: dict[str, Any] | None) -> Any:
    """Build a recognizer with another FMU, or with none.

    Raises:
        ValueError: It has no FMU.
    """
    if not model.get("neck"):
        raise ValueError("This recognizer has no FMU. Give a config with neck=dict(type='FMU').")
    changed = {**model, "neck": None if neck is None else {**model["neck"], **neck}}
    return MODELS.build(copy.deepcopy(changed))  # MMOCR writes into what it builds


def measure(model: Any, images: torch.Tensor) -> float:
    """Return the seconds of a training step."""
    shape = {"img_shape": tuple(images.shape[2:]), "valid_ratio": 1.0}
    samples = [TextRecogDataSample(gt_text=LabelData(item=WORD), metainfo=shape) for _ in images]
    begin = time.perf_counter()
    loss, _ = model.parse_losses(model.train().loss(images, samples))
    loss.backward()
    model.zero_grad()
    return time.perf_counter() - begin


@exit_with_message
def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("configs", nargs="+", type=Path, help="recognizers with an FMU")
    parser.add_argument("--batch", type=int, default=16, help="default: %(default)s")
    parser.add_argument("--size", type=int, nargs=2, default=[32, 128], metavar=("H", "W"))
    parser.add_argument("--repeats", type=int, default=3, help="default: %(default)s")
    args = parse_arguments(parser)
    init_default_scope("mmocr")
    images = torch.randn(args.batch, 3, *args.size)
    rows, report = [], []
    for config in tqdm(args.configs, unit="config"):
        model = Config.fromfile(config).model.to_dict()
        built = {name: build(model, neck) for name, neck in VARIANTS.items()}
        seconds: dict[str, list[float]] = {name: [] for name in built}
        for _ in range(args.repeats + 1):  # the first is to warm up
            for name, recognizer in built.items():
                seconds[name].append(measure(recognizer, images))
        medians = {name: statistics.median(found[1:]) for name, found in seconds.items()}
        for name, found in medians.items():
            parameters = sum(x.numel() for x in built[name].parameters()) / 1e6
            rows.append(
                {
                    "recognizer": config.stem,
                    "variant": name,
                    "parameters": f"{parameters:.1f} M",
                    "training step": f"{found:.2f} s",
                    "ratio": f"{found / medians['no FMU']:.2f}",
                }
            )
            report.append({"config": str(config), "variant": name, "training_s": found})
    print(markdown(rows))
    write_report(args.json, report, batch=args.batch, size=args.size, repeats=args.repeats)


if __name__ == "__main__":
    main()
