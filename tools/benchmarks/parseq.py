# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Samples a second of PARSeq against a literal implementation, in one run.

The peer has the same weights. It trains one order after the other, each with keys and values of its
own, and reads by computing all characters anew for each one, always to the last place. It stands in
``tests/literal_parseq.py``, where losses, gradients and readings are proven equal; here they are
compared again. Training is forward and backward, without the optimizer. Words have 1 + Poisson(5)
characters; random weights know no words, so a bias on the end token gives them their lengths.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from decoding import WordEnds
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import LabelData
from mmocr.registry import MODELS
from mmocr.structures import TextRecogDataSample
from reporting import markdown, parse_arguments, write_report
from torch import Tensor

from mmdptr.engine.pretrain_config import config_folder
from mmdptr.extraction.arguments import exit_with_message
from mmdptr.models import PARSeq

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests import literal_parseq as literal

TOLERANCE = {"rtol": 1e-3, "atol": 1e-4}


def seconds(function: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """Return how long a call took, and what it gave."""
    begin = time.perf_counter()
    result = function()
    return time.perf_counter() - begin, result


class Peers:
    """Both implementations on the same weights, images and words.

    Args:
        config (dict): Config of a :class:`PARSeq`.
        batch (int): Samples.
        backbone (bool): Whether the backbone's time counts too, not only the decoder's.
    """

    def __init__(self, config: dict[str, Any], batch: int, backbone: bool) -> None:
        self.model: PARSeq = MODELS.build(config)
        for module in self.model.modules():
            for name in ("p", "dropout", "drop_prob"):
                if isinstance(getattr(module, name, None), float):
                    setattr(module, name, 0.0)  # chance would make them differ
        self.backbone = backbone
        self.images = torch.randn(batch, 3, 32, 128)
        self.features = self.model.backbone(self.images).detach().requires_grad_()
        decoder = self.model.decoder
        self.lengths = (1 + torch.poisson(torch.full((batch,), 5.0))).clamp(max=25)
        classes = len(decoder.dictionary.dict) - 3  # none that is special
        self.words = [torch.randint(classes, (int(x),)).tolist() for x in self.lengths]
        self.samples = [
            TextRecogDataSample(gt_text=LabelData(item=decoder.dictionary.idx2str(word)))
            for word in self.words
        ]

    def _memory(self) -> Tensor:
        return self.model.backbone(self.images) if self.backbone else self.features

    def train(self, literally: bool) -> Tensor:
        """Take a training step without the optimizer; return the loss."""
        decoder, memory = self.model.train().decoder, self._memory()
        torch.manual_seed(0)
        if literally:
            samples = decoder.module_loss.get_targets(self.samples)
            turns = decoder.draw(samples)[2]
            loss = literal.loss(decoder, memory.flatten(2).mT, self.words, turns)
        else:
            loss = decoder.loss(memory, None, self.samples)["loss_ce"]
        loss.backward()
        return loss.detach()

    @torch.inference_mode()
    def read(self, literally: bool) -> Tensor:
        """Read and refine once; return the refined logits."""
        decoder, memory = self.model.eval().decoder, self._memory().flatten(2).mT
        ends = decoder.classifier.register_forward_hook(WordEnds(self.lengths, decoder))
        draft = literal.decode(decoder, memory) if literally else decoder.decode(memory)
        ends.remove()
        return (
            literal.refine(decoder, memory, draft) if literally else decoder.refine(memory, draft)
        )


def compare(peers: Peers, task: str, repeats: int) -> dict[str, Any]:
    """Measure both in turn, after one turn to warm up."""
    run = getattr(peers, task)
    columns: tuple[list[float], list[float]] = ([], [])
    for turn in range(repeats + 1):
        (theirs, expected), (ours, found) = (seconds(lambda x=x: run(x)) for x in (True, False))
        torch.testing.assert_close(found, expected, **TOLERANCE)
        if turn:
            for column, value in zip(columns, (theirs, ours), strict=True):
                column.append(value)
    literal_s, mmdptr_s = map(statistics.median, columns)
    batch = len(peers.images)
    return {
        "task": {"train": "training step", "read": "reading"}[task],
        "part": "whole recognizer" if peers.backbone else "decoder",
        "literal_samples_per_s": round(batch / literal_s, 1),
        "mmdptr_samples_per_s": round(batch / mmdptr_s, 1),
        "ratio_of_medians": round(literal_s / mmdptr_s, 2),
        "repeats_s": {"literal": columns[0], "mmdptr": columns[1]},
    }


@exit_with_message
def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, help="default: our parseq_vit-small.py")
    parser.add_argument("--batch", type=int, default=64, help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=3, help="default: %(default)s")
    args = parse_arguments(parser)
    init_default_scope("mmocr")
    torch.manual_seed(0)
    config = Config.fromfile(args.config or config_folder() / "parseq_vit-small.py").model
    rows = []
    for backbone in (False, True):
        peers = Peers(config.to_dict(), args.batch, backbone)
        for task in ("train", "read"):
            rows.append(compare(peers, task, args.repeats))
    cells = [
        {
            f"batch of {args.batch}": row["task"],
            "of": row["part"],
            "literal, samples/s": row["literal_samples_per_s"],
            "mmdptr, samples/s": row["mmdptr_samples_per_s"],
            "ratio": row["ratio_of_medians"],
        }
        for row in rows
    ]
    print(markdown(cells))
    write_report(args.json, rows, batch=args.batch)


if __name__ == "__main__":
    main()
