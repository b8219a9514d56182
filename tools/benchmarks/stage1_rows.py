# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""What stage 1 costs for each recognizer, in one run.

Every recognizer's decoder takes training steps on the same embeddings, in turn, several times: the
seconds that 1,000 labels take, and their ratio to those of the first recognizer. By default they
are the small variants of ``configs/mini``, NRTR first.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmocr.registry import MODELS
from reporting import markdown, parse_arguments, write_report
from stage1 import (
    WRAPPERS,
    Way,
    choose_words,
    load_recognizer,
    stage1_config,
    write_bank,
    write_store,
)
from tqdm import trange

from mmdptr.clip import CLIPTextEncoder, Prompt, load_clip
from mmdptr.engine.pretrain_config import config_folder
from mmdptr.extraction.arguments import exit_with_message

FIRST = "dptr_nrtr_mini"


def default_configs() -> list[Path]:
    """Return the small variants, NRTR's first."""
    found = sorted((config_folder() / "mini").glob("dptr_*_mini.py"))
    return sorted(found, key=lambda path: path.stem != FIRST)


def build_ways(folder: Path, args: argparse.Namespace) -> dict[str, Way]:
    """Write embeddings, and build the stage 1 of each recognizer, by name."""
    recognizers = {path.stem: load_recognizer(path) for path in args.configs}
    first = next(iter(recognizers.values()))
    # Characters apart: as many tokens as characters, as the small variants are trained.
    encoder = CLIPTextEncoder(load_clip(args.model, "random"), Prompt(spelling="characters"))
    words = choose_words(args.corpus, args.labels, first)
    _, store = write_store(folder, words, encoder)
    _, bank = write_bank(folder, encoder)
    ways = {}
    for name, recognizer in recognizers.items():
        cfg = stage1_config(recognizer, store, bank, args.batch)
        cfg.optim_wrapper.type = WRAPPERS[args.precision]
        batches = iter(Runner.build_dataloader(cfg.train_dataloader))
        ways[name] = Way(MODELS.build(cfg.model), batches, cfg.optim_wrapper)
    return ways


def measure(ways: dict[str, Way], batch: int, steps: int) -> list[dict[str, Any]]:
    """Train in turn, after a step to warm up.

    Args:
        ways (dict[str, Way]): By the names of their rows.
        batch (int): Labels a step.
        steps (int): Steps each.

    Returns:
        list[dict]: A row for each.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in trange(steps + 1, desc="Training", unit="turn"):
        for name, way in ways.items():
            spent = way.seconds(1)
            if turn:
                seconds[name].append(spent)
    first = statistics.median(next(iter(seconds.values())))
    return [
        {
            "recognizer": name,
            "parameters": sum(p.numel() for p in ways[name].model.parameters()),
            "s_per_1000_labels": statistics.median(found) * 1000 / batch,
            "ratio_of_medians": statistics.median(found) / first,
            "repeats_s": found,
        }
        for name, found in seconds.items()
    ]


@exit_with_message
def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", help="word list, e.g. en_vocabulary_90k.txt")
    parser.add_argument("--configs", type=Path, nargs="+", default=default_configs())
    parser.add_argument("--model", default="mmdptr-tiny", help="CLIP; default: %(default)s")
    parser.add_argument("--labels", type=int, default=2048, help="default: %(default)s")
    parser.add_argument("--batch", type=int, default=256, help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--precision", choices=WRAPPERS, default="fp32")
    args = parse_arguments(parser)
    init_default_scope("mmocr")
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(build_ways(Path(folder), args), args.batch, args.steps)
    cells = [
        {
            f"recognizer, {args.precision}": row["recognizer"],
            "parameters": f"{row['parameters'] / 1e6:.2f} M",
            "s per 1,000 labels": f"{row['s_per_1000_labels']:.2f}",
            "ratio": f"{row['ratio_of_medians']:.2f}",
        }
        for row in rows
    ]
    print(markdown(cells))
    write_report(args.json, rows, batch=args.batch, precision=args.precision)


if __name__ == "__main__":
    main()
