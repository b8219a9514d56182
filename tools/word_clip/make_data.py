# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Render word images with their prompts, as WebDataset shards for open_clip_train.

Each word is drawn with many fonts over parts of photographs; 1 % of the words are held out, the
same that stage 1 of DPTR holds out. A killed run goes on where it was; any number of workers
writes the same bytes.

Example:
    python tools/word_clip/make_data.py words.txt --fonts fonts --backgrounds photos --out images
"""

import argparse
import io
import json
import os
import string
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import webdataset
from numpy.random import Generator
from PIL import Image
from tqdm import tqdm

from mmdptr.clip import Prompt
from mmdptr.datasets import LabelFilter
from mmdptr.datasets.corpora import iter_corpora
from mmdptr.embeddings.text_embedding_store import hash_labels
from mmdptr.extraction.arguments import exit_with_message
from mmdptr.rendering import Fonts, WordRenderer, contact_sheet

HELD_OUT = 0.01
CODES = 0.08  # part of the texts that are numbers and codes instead of words
PICTURE_SIDE = 240  # pixels; backgrounds are pieces of pictures of this size


class Shard(NamedTuple):
    """A file to write.

    Args:
        split (str): ``'train'`` or ``'val'``.
        number (int): Which of the split it is.
        size (int): Images in it.
    """

    split: str
    number: int
    size: int

    @property
    def name(self) -> str:
        """str: File name."""
        return f"{self.split}-{self.number:05d}.tar"


def split_words(words: Sequence[str]) -> dict[str, list[str]]:
    """Hold out the words that stage 1 of DPTR holds out, by a hash of each."""
    held_out = hash_labels(words) < HELD_OUT * 2**32
    splits = {
        "train": [word for word, out in zip(words, held_out, strict=True) if not out],
        "val": [word for word, out in zip(words, held_out, strict=True) if out],
    }
    for split, found in splits.items():
        if not found:
            raise ValueError(f"Of {len(words)} words none is left for {split}. Give more words.")
    return splits


def draw_text(rng: Generator, words: Sequence[str]) -> str:
    """Draw a word as it may be written, or a number or code."""
    if rng.random() < CODES:
        letters = string.digits if rng.random() < 0.6 else string.digits + string.ascii_uppercase
        return "".join(rng.choice(list(letters), rng.integers(1, 9)))
    word = words[rng.integers(len(words))]
    return (word, word.capitalize(), word.upper())[rng.choice(3, p=[0.4, 0.25, 0.35])]


def read_pictures(folder: Path) -> list[Image.Image]:
    """Read the middle square of all photographs of a folder."""
    paths = sorted(x for x in folder.rglob("*") if x.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not paths:
        raise FileNotFoundError(f"No .jpg or .png in {folder}. Give photographs without text.")
    pictures = []
    for path in paths:
        with Image.open(path) as image:
            left, top = ((side - min(image.size)) // 2 for side in image.size)
            box = (left, top, left + min(image.size), top + min(image.size))
            pictures.append(image.convert("RGB").resize((PICTURE_SIDE, PICTURE_SIDE), box=box))
    return pictures


@cache
def load_renderer(fonts: str, backgrounds: str) -> WordRenderer:
    """Load fonts and pictures once a process."""
    torch.set_num_threads(1)
    return WordRenderer(Fonts([fonts]), read_pictures(Path(backgrounds)))


def write_shard(shard: Shard, settings: dict[str, Any], words: Sequence[str], out: Path) -> Shard:
    """Render the images of a shard; the file has its name only when it is complete."""
    renderer = load_renderer(settings["fonts"], settings["backgrounds"])
    prompt = Prompt(spelling="characters")
    height, width = settings["size"]
    partial_file = out / f"{shard.name}.{os.getpid()}.partial"
    with webdataset.TarWriter(str(partial_file), mtime=0) as tar:
        for index in range(shard.size):
            seed = [settings["seed"], shard.split == "val", shard.number, index]
            text = draw_text(np.random.default_rng([*seed, 0]), words)
            image = renderer(text, [*seed, 1]).resize((width, height), Image.Resampling.BICUBIC)
            data = io.BytesIO()
            image.save(data, "JPEG", quality=92)
            key = f"{shard.split}-{shard.number:05d}-{index:06d}"
            tar.write({"__key__": key, "jpg": data.getvalue(), "txt": prompt(text)})
    partial_file.replace(out / shard.name)
    return shard


def check_settings(out: Path, settings: dict[str, Any]) -> None:
    """Write down what a folder is made of, or compare.

    Raises:
        ValueError: The folder holds images of other settings.
    """
    file = out / "settings.json"
    if file.exists():
        found = json.loads(file.read_text(encoding="utf-8"))
        if found != settings:
            differing = [key for key in settings if found.get(key) != settings[key]]
            raise ValueError(
                f"{out} was made with other settings: {', '.join(differing)}. Name another folder, "
                "or delete it."
            )
    else:
        out.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    for left in out.glob("*.partial"):
        left.unlink()


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("corpora", nargs="+", help="word lists, in the formats of stage 1")
    parser.add_argument("--fonts", required=True, help="folder of .ttf, .otf and .woff files")
    parser.add_argument("--backgrounds", required=True, help="folder of photographs without text")
    parser.add_argument("--out", type=Path, required=True, help="folder of the shards")
    parser.add_argument("--images", type=int, default=400_000, help="for training")
    parser.add_argument("--val-images", type=int, default=5_000, help="of words held out")
    parser.add_argument("--shard-size", type=int, default=5_000, help="images a shard")
    parser.add_argument("--size", type=int, nargs=2, default=(32, 128), help="height and width")
    parser.add_argument("--max-length", type=int, default=20, help="of a word, in characters")
    parser.add_argument("--seed", type=int, default=0, help="of everything random")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    return parser.parse_args()


@exit_with_message
def main() -> None:
    """Run the tool."""
    args = parse_args()
    label_filter = LabelFilter(max_length=args.max_length)
    words = split_words([x for x in label_filter(iter_corpora(args.corpora)) if " " not in x])
    names = ("fonts", "backgrounds", "images", "val_images", "shard_size", "max_length", "seed")
    settings = {name: getattr(args, name) for name in names}
    settings.update(size=list(args.size), words={key: len(x) for key, x in words.items()})
    check_settings(args.out, settings)
    shards = [
        Shard(split, number, min(args.shard_size, images - first))
        for split, images in (("val", args.val_images), ("train", args.images))
        for number, first in enumerate(range(0, images, args.shard_size))
    ]
    missing = [shard for shard in shards if not (args.out / shard.name).exists()]
    done = sum(x.size for x in shards) - sum(x.size for x in missing)
    with (
        ProcessPoolExecutor(args.workers) as pool,
        tqdm(total=args.images + args.val_images, initial=done, unit="image") as bar,
    ):
        for split in words:
            write = partial(write_shard, settings=settings, words=words[split], out=args.out)
            for shard in pool.map(write, [x for x in missing if x.split == split]):
                bar.update(shard.size)
    sheet = args.out / "sample.png"
    samples = webdataset.WebDataset(str(args.out / shards[0].name), shardshuffle=False)
    contact_sheet([x["jpg"] for x in islice(samples.decode("pil"), 60)], 6).save(sheet)
    print(
        f"{args.out}: {args.images} images to train on and {args.val_images} of words held out; "
        f"look at {sheet}."
    )


if __name__ == "__main__":
    main()
