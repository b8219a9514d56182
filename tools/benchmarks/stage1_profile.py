# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Where the time of a training step of stage 1 goes, and what bfloat16 gains.

MMEngine's runner trains by the config that DPTRPretrainHook makes for a recognizer, by default NRTR
of full size, on a store that is written before. Steps in fp32 and bf16 take turns on one model and
optimizer, so that both see the same load of the machine; the medians of the steps count.

A step is all from the end of the last one to its own: waiting for data, the forward pass of the
decoder, the loss with its targets, the backward pass, the optimizer (clipping of gradients
included), and whatever the hooks do. A line is logged in every step, where training logs one in
100: the share of the rest is an upper bound.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from reporting import markdown, parse_arguments, write_report
from stage1 import choose_words, load_recognizer, stage1_config, write_bank, write_store

from mmdptr.bfloat16 import cpu_multiplies_bfloat16
from mmdptr.clip import CLIPTextEncoder, load_clip
from mmdptr.engine import BF16OptimWrapper
from mmdptr.extraction.arguments import exit_with_message

FORWARD, BACKWARD, OPTIMIZER = "decoder forward", "backward", "optimizer"
WAITING, PREPROCESSING, LOSS = "waiting for data", "padding and slot mixing", "targets and loss"
OTHERS = "hooks, logging and others"
LEARNING = (FORWARD, BACKWARD, OPTIMIZER)
PARTS = (*LEARNING, WAITING, PREPROCESSING, LOSS, OTHERS)


def clock() -> float:
    """Return the time in seconds, all work on a GPU done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


class Stopwatch(Hook):
    """Measures the parts of training steps, which are in fp32 and bf16 in turn.

    Its priority makes it the last hook: what all others do is part of the step.

    Attributes:
        steps (dict[str, list[dict]]): By precision, the seconds of each step's parts, by name.
    """

    priority = "LOWEST"

    def __init__(self) -> None:
        self.steps: dict[str, list[dict[str, float]]] = {"fp32": [], "bf16": []}
        self._parts: dict[str, float] = defaultdict(float)
        self._begin = 0.0

    def before_train(self, runner: Runner) -> None:
        """Find the parts, and start with fp32."""
        fp32 = runner.optim_wrapper
        clip_grad = runner.cfg.optim_wrapper.get("clip_grad")
        bf16 = BF16OptimWrapper(optimizer=fp32.optimizer, clip_grad=clip_grad)
        self._wrappers = {"fp32": fp32, "bf16": bf16}
        for wrapper in (fp32, bf16):
            self.watch(wrapper, "backward", BACKWARD)
            for method in ("step", "zero_grad"):
                self.watch(wrapper, method, OPTIMIZER)
        decoder = runner.model.decoder
        self.watch(decoder, "forward_train", FORWARD)
        for method in ("get_targets", "forward"):
            self.watch(decoder.module_loss, method, LOSS)
        self.watch(runner.model.data_preprocessor, "forward", PREPROCESSING)
        self._begin = clock()

    def watch(self, owner: object, method: str, part: str) -> None:
        """Add the time that an object's method takes to a part of the step."""
        original = getattr(owner, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            begin = clock()
            result = original(*args, **kwargs)
            self._parts[part] += clock() - begin
            return result

        setattr(owner, method, timed)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Note that the batch is there."""
        self._parts[WAITING] = clock() - self._begin

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Close the step, and change the precision for the next."""
        now = clock()
        self._parts[OTHERS] = now - self._begin - sum(self._parts.values())
        bf16 = runner.optim_wrapper is self._wrappers["bf16"]
        self.steps["bf16" if bf16 else "fp32"].append(dict(self._parts))
        self._parts.clear()
        runner.optim_wrapper = self._wrappers["fp32" if bf16 else "bf16"]
        self._begin = now


def train(cfg: Config, folder: Path, steps: int) -> dict[str, list[dict[str, float]]]:
    """Train for one step in each precision to warm up, then for ``steps``; return their parts."""
    cfg.work_dir = str(folder)
    cfg.train_cfg = {"type": "IterBasedTrainLoop", "max_iters": 2 * (1 + steps)}
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    cfg.default_hooks.logger.interval = 1
    cfg.default_hooks.checkpoint = None
    cfg.log_processor.by_epoch = False
    runner = Runner.from_cfg(cfg)
    stopwatch = Stopwatch()
    runner.register_hook(stopwatch)
    runner.train()
    return {precision: found[1:] for precision, found in stopwatch.steps.items()}


def summarize(steps: dict[str, list[dict[str, float]]]) -> list[dict[str, Any]]:
    """Return a row for each precision; its ratio is that of fp32's median step to its own."""
    rows: list[dict[str, Any]] = []
    for precision, found in steps.items():
        seconds = [sum(parts.values()) for parts in found]
        learning = [sum(parts[name] for name in LEARNING) for parts in found]
        rest = [1 - part / whole for part, whole in zip(learning, seconds, strict=True)]
        row = {
            "precision": precision,
            "step_s": statistics.median(seconds),
            "rest_share": statistics.median(rest),
            "parts_s": {name: statistics.median(x[name] for x in found) for name in PARTS},
            "repeats_s": seconds,
        }
        rows.append(row)
        row["ratio_of_medians"] = rows[0]["step_s"] / row["step_s"]
    return rows


def table(rows: Sequence[dict[str, Any]], batch: int) -> str:
    """Lay out the rows side by side, in Markdown."""
    columns = {
        row["precision"]: [
            *((seconds, seconds / row["step_s"]) for seconds in map(row["parts_s"].get, PARTS)),
            (row["step_s"], row["rest_share"]),
        ]
        for row in rows
    }
    names = [*PARTS, "whole step; all but the first three parts"]
    return markdown(
        [
            {f"step, batch of {batch}": name}
            | {x: f"{column[i][0]:.3f} s" for x, column in columns.items()}
            | {f"{x}, share": f"{column[i][1]:.1%}" for x, column in columns.items()}
            for i, name in enumerate(names)
        ]
    )


@exit_with_message
def main() -> None:
    """Run the profile."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", help="word list, e.g. en_vocabulary_90k.txt")
    parser.add_argument("--config", type=Path, help="recognizer; default: our dptr_nrtr.py")
    parser.add_argument("--model", default="ViT-B-16", help="CLIP; default: %(default)s")
    parser.add_argument("--labels", type=int, default=1024, help="default: %(default)s")
    parser.add_argument("--batch", type=int, default=256, help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=5, help="of a precision; default: %(default)s")
    parser.add_argument("--workers", type=int, default=2, help="default: %(default)s, as training")
    args = parse_arguments(parser)
    if not cpu_multiplies_bfloat16():
        raise ValueError(
            "This CPU has neither AVX512-BF16 nor AMX: BF16OptimWrapper stays in float32, and "
            "there is nothing to compare. Measure on one that has."
        )
    init_default_scope("mmocr")
    recognizer = load_recognizer(args.config)
    words = choose_words(args.corpus, args.labels, recognizer)
    # The table alone goes to the standard output.
    with tempfile.TemporaryDirectory() as temporary, redirect_stdout(sys.stderr):
        folder = Path(temporary)
        encoder = CLIPTextEncoder(load_clip(args.model, "random"))
        _, store = write_store(folder, words, encoder)
        _, bank = write_bank(folder, encoder)
        cfg = stage1_config(recognizer, store, bank, args.batch, args.workers)
        rows = summarize(train(cfg, folder / "work_dir", args.steps))
    print(table(rows, args.batch))
    print(f"\nfp32 / bf16, ratio of medians: {rows[1]['ratio_of_medians']:.2f}")
    write_report(
        args.json,
        rows,
        decoder=recognizer["decoder"]["type"],
        batch=args.batch,
        workers=args.workers,
    )


if __name__ == "__main__":
    main()
