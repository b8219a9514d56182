# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Labels a second of our text encoder against open_clip's plain forward, in one run.

Both tokenize and encode words of the same list with the same weights (random ViT-B-16), in turn,
several times; what counts is the ratio of the medians. Plain means ``tokenizer`` and
``encode_text`` on 77 tokens, as every user of open_clip writes it.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import open_clip
import torch

from mmdptr.clip import CLIPTextEncoder, LoadedCLIP, load_clip
from mmdptr.datasets import LabelFilter, iter_corpus
from mmdptr.extraction.arguments import exit_with_message


def rate(function: Callable[[list[str]], object], labels: list[str]) -> float:
    """Return labels a second of one call."""
    begin = time.perf_counter()
    function(labels)
    return len(labels) / (time.perf_counter() - begin)


def compare(clip: LoadedCLIP, labels: list[str], plain_labels: int, repeats: int) -> dict:
    """Measure both encoders in turn."""
    encoder = CLIPTextEncoder(clip)

    @torch.inference_mode()
    def plain(batch: list[str]) -> torch.Tensor:
        return clip.model.encode_text(clip.tokenizer([encoder.prompt(label) for label in batch]))

    few = labels[:: len(labels) // plain_labels][:plain_labels]
    difference = (encoder.encode(few).pooled - plain(few)).abs().max().item()
    rates = [(rate(encoder.encode, labels), rate(plain, few)) for _ in range(repeats)]
    ours, theirs = (statistics.median(column) for column in zip(*rates, strict=True))
    features = encoder.encode(few)
    return {
        "precision": clip.identity.precision,
        "own_tokens_per_label": round(features.lengths.float().mean().item(), 2),
        "mmdptr_labels_per_s": round(ours, 1),
        "open_clip_labels_per_s": round(theirs, 1),
        "ratio_of_medians": round(ours / theirs, 2),
        "max_difference": difference,
    }


@exit_with_message
def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", help="word list, e.g. en_vocabulary_90k.txt")
    parser.add_argument("--model", default="ViT-B-16", help="default: %(default)s")
    parser.add_argument("--labels", type=int, default=4096, help="of ours, a repeat")
    parser.add_argument("--plain-labels", type=int, default=128, help="of open_clip's, a repeat")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, help="default: PyTorch's choice")
    parser.add_argument("--json", type=Path, help="also write the results here")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    words = [word for word in LabelFilter()(iter_corpus(args.corpus)) if " " not in word]
    labels = words[:: max(1, len(words) // args.labels)][: args.labels]
    rows = []
    print(f"{'':10}{'mmdptr':>12}{'open_clip':>12}{'ratio':>8}{'max |diff|':>12}")
    for precision in ("fp32", "bf16"):
        clip = load_clip(args.model, "random", precision=precision)
        row = compare(clip, labels, args.plain_labels, args.repeats)
        rows.append(row)
        print(
            f"{precision:10}{row['mmdptr_labels_per_s']:>10.1f}/s"
            f"{row['open_clip_labels_per_s']:>10.1f}/s{row['ratio_of_medians']:>8.2f}"
            f"{row['max_difference']:>12.1e}"
        )
    if args.json:
        about = {
            "model": args.model,
            "machine": platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "open_clip": open_clip.__version__,
        }
        args.json.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
