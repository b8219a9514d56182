# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Encode word corpora with CLIP's text encoder into a text-embedding store.

Interrupted, it goes on with the same command; what is lost is the shard that was not on the
disk yet. Several processes, started by `torchrun --nproc_per_node
N` or SLURM's `srun`, share the work; `--device cuda` gives each a GPU of its own.
"""

import argparse
from pathlib import Path

import torch
from mmengine.dist import is_main_process

from mmdptr.clip import CLIPTextEncoder, Prompt, load_clip
from mmdptr.clip.prompt import SPELLINGS
from mmdptr.datasets.label_filter import LabelFilter
from mmdptr.embeddings import TextEmbeddingStore
from mmdptr.extraction import extract_text_embeddings
from mmdptr.extraction.arguments import (
    add_clip_arguments,
    add_label_arguments,
    exit_with_message,
    label_options,
)
from mmdptr.extraction.processes import join_processes
from mmdptr.writing import read_alphabet


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "corpora",
        nargs="*",
        help="one or more of: .txt with one label a line, MMOCR .json, .jsonl, MMOCR LMDB folder",
    )
    parser.add_argument("--out", required=True, help="folder of the store")
    add_clip_arguments(parser)
    parser.add_argument(
        "--compile",
        action="store_true",
        help="compile CLIP by torch.compile: a minute and a C++ compiler first, then faster",
    )
    words = parser.add_argument_group("which labels")
    words.add_argument("--dictionary", help="MMOCR dictionary file; other characters are dropped")
    words.add_argument("--min-length", type=int, default=1, help="shortest label")
    words.add_argument("--max-length", type=int, default=25, help="longest label")
    add_label_arguments(parser)
    memory = parser.add_argument_group("what is embedded")
    memory.add_argument("--prompt", default=Prompt.template, help="{} is the label's place")
    memory.add_argument(
        "--spelling",
        choices=SPELLINGS,
        default="word",
        help="'characters' separates them by spaces: one token a character",
    )
    memory.add_argument(
        "--keep-padding", action="store_true", help="the paper's 78 tokens, about 80 kB a label"
    )
    memory.add_argument(
        "--joint-space", action="store_true", help="project the tokens too, not only the pooled one"
    )
    memory.add_argument("--int8", action="store_true", help="half the disk; see the docs")
    parser.add_argument("--shard-size", type=int, default=4096, help="labels a shard")
    parser.add_argument(
        "--workers", type=int, default=2, help="processes that tokenize; a fast GPU needs more"
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace a store that is finished, damaged or of another source",
    )
    parser.add_argument("--verify", action="store_true", help="only verify the store in --out")
    args = parser.parse_args()
    if not args.verify and not args.corpora:
        parser.error("no corpora: name one or more, only --verify needs none")
    return args


@exit_with_message
def main() -> None:
    """Run the tool."""
    args = parse_args()
    if args.verify:
        store = TextEmbeddingStore(args.out, verify_checksums="all")
        print(f"{args.out} is complete and undamaged: {len(store)} labels.")
        return
    if args.threads:
        torch.set_num_threads(args.threads)
    label_filter = LabelFilter(
        characters=read_alphabet(args.dictionary) if args.dictionary else None,
        min_length=args.min_length,
        max_length=args.max_length,
        **label_options(args),
    )
    number = join_processes()
    device = f"cuda:{number}" if args.device == "cuda" else args.device
    clip = load_clip(args.model, args.pretrained, device, args.precision, args.seed)
    prompt = Prompt(args.prompt, args.spelling)
    encoder = CLIPTextEncoder(
        clip, prompt, args.keep_padding, args.joint_space, compile=args.compile
    )
    report = extract_text_embeddings(
        args.corpora,
        args.out,
        encoder,
        label_filter,
        args.shard_size,
        args.overwrite,
        args.int8,
        args.workers,
    )
    if not is_main_process():
        return
    print(report)
    size = sum(file.stat().st_size for file in Path(args.out).iterdir())
    print(
        f"{args.out}: {report.kept} labels, {size / 1e6:.1f} MB, "
        f"{size / 1e3 / report.kept:.2f} kB a label."
    )


if __name__ == "__main__":
    main()
