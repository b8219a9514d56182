# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Encode natural images with CLIP's image encoder into an ORP bank.

Files that are no images, or broken, are named and skipped. Interrupted, it goes on with the same
command and loses at most one shard's work.
"""

import argparse
import random

import torch

from mmdptr.clip import CLIPImageEncoder, load_clip
from mmdptr.embeddings import ORPBank
from mmdptr.extraction import extract_orp_bank, find_images
from mmdptr.extraction.arguments import add_clip_arguments, exit_with_message


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "images", nargs="?", help="folder of natural images without text, e.g. COCO's"
    )
    parser.add_argument("--out", required=True, help="folder of the bank")
    add_clip_arguments(parser)
    parser.add_argument(
        "--limit", type=int, help="use so many images, drawn by --seed; the paper uses 10,000"
    )
    parser.add_argument("--batch-size", type=int, default=32, help="images encoded together")
    parser.add_argument("--shard-size", type=int, default=256, help="images a shard")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace a bank that is finished, damaged or of another source",
    )
    parser.add_argument("--verify", action="store_true", help="only verify the bank in --out")
    args = parser.parse_args()
    if not args.verify and not args.images:
        parser.error("no images: name a folder of them, only --verify needs none")
    return args


@exit_with_message
def main() -> None:
    """Run the tool."""
    args = parse_args()
    if args.verify:
        bank = ORPBank(args.out, verify_checksums="all")
        print(f"{args.out} is complete and undamaged: {len(bank)} images.")
        return
    if args.threads:
        torch.set_num_threads(args.threads)
    files = find_images(args.images)
    if args.limit and args.limit < len(files):
        files = sorted(random.Random(args.seed).sample(files, args.limit))
    clip = load_clip(args.model, args.pretrained, args.device, args.precision, args.seed)
    count, skipped = extract_orp_bank(
        files, args.out, CLIPImageEncoder(clip), args.batch_size, args.shard_size, args.overwrite
    )
    print(f"{args.out}: {count} images.")
    if skipped:
        print(f"Skipped {len(skipped)}: {', '.join(skipped[:10])}{', ...' * (len(skipped) > 10)}")


if __name__ == "__main__":
    main()
