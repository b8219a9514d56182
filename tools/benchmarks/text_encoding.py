# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Labels a second of our text encoder against open_clip's plain forward, in one run.

Both tokenize and encode words of the same list with the same weights (random ViT-B-16), in turn,
several times; what counts is the ratio of the medians. Plain means ``tokenizer`` and
``encode_text`` on 77 tokens, as every user of open_clip writes it.

In the same turns the machine multiplies matrices of the same type, and our tokenizer runs alone.
What part of that rate our encoder reaches on tokenized labels, counting only what the own tokens
need, says how much there is left to gain; and tokenizing has to be much faster than encoding, for
in an extraction it runs beside it.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from reporting import markdown, parse_arguments, write_report

from mmdptr.clip import CLIPTextEncoder, LoadedCLIP, load_clip
from mmdptr.clip.loading import PRECISIONS
from mmdptr.clip.text_encoder import TextFeatures
from mmdptr.datasets import LabelFilter, iter_corpus
from mmdptr.extraction.arguments import exit_with_message


def rate(function: Callable[[list[Any]], object], labels: list[Any]) -> float:
    """Return labels a second of one call."""
    begin = time.perf_counter()
    function(labels)
    return len(labels) / (time.perf_counter() - begin)


def gemm_rate(dtype: torch.dtype, size: int = 2048) -> float:
    """Return floating-point operations a second of one product of square matrices."""
    a, b = torch.randn(2, size, size).to(dtype)
    begin = time.perf_counter()
    a @ b
    return 2 * size**3 / (time.perf_counter() - begin)


def operations(encoder: CLIPTextEncoder, features: TextFeatures) -> float:
    """Return the operations a label's own tokens need: a multiplication and an addition are two.

    A token passes matrices of 12 C^2 weights a layer and attends to all before it and itself.
    """
    width = encoder.tower.width
    layers = encoder.tower.tower.transformer.layers
    lengths, starts = features.lengths.double(), features.prefix_lengths.double()
    keys = lengths * starts + lengths * (lengths + 1) / 2
    total = layers * (24 * width**2 * lengths + 4 * width * keys).sum()
    return float(total / len(lengths)) + 2 * width * encoder.pooled_width


def compare(
    clip: LoadedCLIP,
    labels: list[str],
    plain_labels: int,
    repeats: int,
    keep_padding: bool,
    compiled: bool,
) -> dict[str, Any]:
    """Measure both encoders in turn."""
    encoder = CLIPTextEncoder(clip, keep_padding=keep_padding, compile=compiled)

    @torch.inference_mode()
    def plain(batch: list[str]) -> torch.Tensor:
        model: Any = clip.model
        return model.encode_text(clip.tokenizer([encoder.prompt(label) for label in batch]))

    few = labels[:: len(labels) // plain_labels][:plain_labels]
    difference = (encoder.encode(few).pooled - plain(few)).abs().max().item()
    features = encoder.encode(labels)  # warms up, and compiles
    gemm_rate(clip.dtype)
    sentences = [encoder.tokenize(label) for label in labels]
    rates = [
        (
            rate(encoder.encode, labels),
            rate(encoder.encode_ids, sentences),
            rate(plain, few),
            rate(lambda x: [encoder.tokenize(label) for label in x], labels),
            gemm_rate(clip.dtype),
        )
        for _ in range(repeats)
    ]
    ours, tokenized, theirs, tokenizing, gemm = map(statistics.median, zip(*rates, strict=True))
    return {
        "precision": clip.identity.precision,
        "keep_padding": encoder.keep_padding,
        "compiled": compiled,
        "own_tokens_per_label": round(features.lengths.float().mean().item(), 2),
        "mmdptr_labels_per_s": round(ours, 1),
        "open_clip_labels_per_s": round(theirs, 1),
        "ratio_of_medians": round(ours / theirs, 2),
        "max_difference": difference,
        "tokenizer_labels_per_s": round(tokenizing, 1),
        "gemm_gflops": round(gemm / 1e9, 1),
        "mmdptr_tokenized_labels_per_s": round(tokenized, 1),
        "part_of_gemm": round(tokenized * operations(encoder, features) / gemm, 3),
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
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=["fp32", "bf16"])
    parser.add_argument("--keep-padding", action="store_true", help="all 77 tokens")
    parser.add_argument("--compile", action="store_true", help="ours compiled by torch.compile")
    args = parse_arguments(parser)
    words = [word for word in LabelFilter()(iter_corpus(args.corpus)) if " " not in word]
    labels = words[:: max(1, len(words) // args.labels)][: args.labels]
    rows = []
    for precision in args.precision:
        clip = load_clip(args.model, "random", precision=precision)
        rows.append(
            compare(clip, labels, args.plain_labels, args.repeats, args.keep_padding, args.compile)
        )
    cells = [
        {
            "precision": row["precision"],
            "mmdptr, labels/s": f"{row['mmdptr_labels_per_s']:,.0f}",
            "open_clip": f"{row['open_clip_labels_per_s']:.1f}",
            "ratio": f"{row['ratio_of_medians']:.1f}",
            "largest difference": f"{row['max_difference']:.0e}",
            "tokenizer alone": f"{row['tokenizer_labels_per_s']:,.0f}",
            "GEMM, GFLOP/s": f"{row['gemm_gflops']:.0f}",
            "part of it": f"{row['part_of_gemm']:.0%}",
        }
        for row in rows
    ]
    print(markdown(cells))
    write_report(args.json, rows, model=args.model)


if __name__ == "__main__":
    main()
