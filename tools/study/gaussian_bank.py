# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Draw an ORP bank from a Gaussian, with the mean and the variance that image features have.

Each channel has those of the bank that is given; what is gone is what belongs together in a
picture. If ORP with it is as good, the images of ORP do no more than noise does.

Example:
    python tools/study/gaussian_bank.py data/dptr/backgrounds --out data/dptr/gaussian
"""

import argparse
from pathlib import Path

import torch
from tqdm import tqdm

from mmdptr.embeddings import ORPBank, ORPBankWriter, manifest_hash
from mmdptr.extraction.arguments import exit_with_message

IMAGES = 100  # drawn at once


def draw_bank(bank: ORPBank, out: Path, seed: int) -> None:
    """Write a bank as large as the one given.

    Raises:
        ValueError: The folder was drawn from another bank or seed.
    """
    images, positions = len(bank), range(bank.num_tokens)
    features = torch.stack([bank.tokens(range(images), p) for p in positions], 1).float()
    mean, std = features.mean((0, 1)), features.std((0, 1))
    # ORP refuses noise of another CLIP, so this counts as the one that it imitates.
    source = {
        "clip": bank.manifest["source"]["clip"],
        "gaussian_like": manifest_hash(bank.manifest),
        "seed": seed,
    }
    generator = torch.Generator().manual_seed(seed)
    with ORPBankWriter(out, source) as writer:
        if writer.complete:
            return
        for first in tqdm(range(0, images, IMAGES), unit="shard"):
            noise = torch.randn(features[first : first + IMAGES].shape, generator=generator)
            name = f"images-{first // IMAGES:05d}"
            if not writer.has(name):
                writer.add_images(name, noise * std + mean, images=len(noise))
        writer.finish(num_images=images)


@exit_with_message
def main() -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("bank", type=Path, help="folder of extract_orp_bank.py")
    parser.add_argument("--out", type=Path, required=True, help="folder of the new bank")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    args = parser.parse_args()
    draw_bank(ORPBank(args.bank), args.out, args.seed)
    print(f"{args.out}: {len(ORPBank(args.out))} images.")


if __name__ == "__main__":
    main()
