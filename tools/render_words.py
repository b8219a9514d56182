# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Render word images, for recognizers and for the small CLIP.

Each word is drawn with many fonts over parts of photographs; 1 % of the words are held out, the
same that stage 1 of DPTR holds out. A killed run goes on where it was; any number of workers
writes the same bytes. train.jsonl and val.jsonl have one {"filename": ..., "text": ...} a line,
which MMOCR's RecogTextDataset reads with LineJsonParser.

Example:
    python tools/render_words.py words.txt --fonts fonts --backgrounds photos --out images
"""

import argparse
import io
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from tqdm import tqdm

from mmdptr.datasets import LabelFilter
from mmdptr.datasets.corpora import iter_corpora
from mmdptr.embeddings.sharded_folder import write_atomically
from mmdptr.embeddings.text_embedding_store import hash_labels
from mmdptr.extraction.arguments import exit_with_message
from mmdptr.rendering import Fonts, Pictures, WordRenderer, WordSource, contact_sheet
from mmdptr.writing import read_alphabet

HELD_OUT = 0.01
SAMPLES = 60  # on the sheet to look at


class Shard(NamedTuple):
    """A part of the images, made by one process.

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
        """Name of the folder, which is there when the shard is complete."""
        return f"{self.split}-{self.number:05d}"


def split_words(words: Sequence[str], images: dict[str, int]) -> dict[str, list[str]]:
    """Hold out the words that stage 1 of DPTR holds out, by a hash of each.

    Raises:
        ValueError: No word is left for a split of which ``images`` are wanted.
    """
    held_out = hash_labels(words) < HELD_OUT * 2**32
    splits = {
        "train": [word for word, out in zip(words, held_out, strict=True) if not out],
        "val": [word for word, out in zip(words, held_out, strict=True) if out],
    }
    for split, found in splits.items():
        if images[split] and not found:
            raise ValueError(
                f"Of {len(words)} words none is left for {split}. Give more words, or no images "
                "to draw for it."
            )
    return splits


@cache
def load_renderer(fonts: tuple[str, ...], backgrounds: str) -> WordRenderer:
    """Load fonts and find pictures once a process."""
    torch.set_num_threads(1)
    return WordRenderer(Fonts(fonts), Pictures(backgrounds))


def render(
    shard: Shard, settings: dict[str, Any], words: Sequence[str]
) -> Iterator[tuple[bytes, str]]:
    """Yield the images of a shard as JPEG, and their texts."""
    renderer = load_renderer(tuple(settings["fonts"]), settings["backgrounds"])
    source = WordSource(words, renderer, settings["codes"])
    for index in range(shard.size):
        image, text = source([settings["seed"], shard.split == "val", shard.number, index])
        if settings["size"]:
            height, width = settings["size"]
            image = image.resize((width, height), Image.Resampling.BICUBIC)
        data = io.BytesIO()
        image.save(data, "JPEG", quality=92)
        yield data.getvalue(), text


def write_shard(
    shard: Shard, settings: dict[str, Any], words: dict[str, list[str]], out: Path
) -> Shard:
    """Write a shard; it has its name only when it is complete."""
    unfinished = out / f"{shard.name}.{os.getpid()}.partial"
    unfinished.mkdir()
    lines = []
    for index, (data, text) in enumerate(render(shard, settings, words[shard.split])):
        (unfinished / f"{index:06d}.jpg").write_bytes(data)
        entry = {"filename": f"{shard.name}/{index:06d}.jpg", "text": text}
        lines.append(json.dumps(entry, ensure_ascii=False) + "\n")
    (unfinished / "labels.jsonl").write_text("".join(lines), encoding="utf-8")
    unfinished.replace(out / shard.name)
    return shard


def check_settings(out: Path, settings: dict[str, Any]) -> None:
    """Write down what a folder is to be made of, or compare.

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
        write_atomically(file, (json.dumps(settings, indent=2) + "\n").encode())
    for left in out.glob("*.partial"):
        shutil.rmtree(left)


def write_annotations(out: Path, shards: Sequence[Shard]) -> None:
    """Write the annotation file of each split from those of its shards."""
    for split in ("train", "val"):
        parts = [out / x.name / "labels.jsonl" for x in shards if x.split == split]
        text = "".join(part.read_text(encoding="utf-8") for part in parts)
        (out / f"{split}.jsonl").write_text(text, encoding="utf-8")


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("corpora", nargs="+", help="word lists, in the formats of stage 1")
    add("--fonts", nargs="+", required=True, help="folders of .ttf, .otf and .woff files")
    add("--backgrounds", required=True, help="folder of photographs without text")
    add("--out", type=Path, required=True, help="folder to write")
    add("--images", type=int, default=50_000, help="for training; default: %(default)s")
    add("--val-images", type=int, default=2_000, help="of words held out; default: %(default)s")
    add("--shard-size", type=int, default=5_000, help="images a shard; default: %(default)s")
    add("--size", type=int, nargs=2, help="height and width; default: as they come out")
    add("--dictionary", help="dictionary file; words of other characters are left out")
    add("--max-length", type=int, default=20, help="of a word; default: %(default)s characters")
    add("--codes", type=float, default=0.08, help="part of numbers and codes; default: %(default)s")
    add("--seed", type=int, default=0, help="of everything random; default: %(default)s")
    add("--workers", type=int, default=os.cpu_count(), help="processes; default: %(default)s")
    return parser.parse_args()


@exit_with_message
def main() -> None:
    """Run the tool."""
    args = parse_args()
    fonts = load_renderer(tuple(args.fonts), args.backgrounds).fonts
    characters = read_alphabet(args.dictionary) if args.dictionary else None
    label_filter = LabelFilter(characters, max_length=args.max_length)
    labels = list(label_filter(iter_corpora(args.corpora)))
    found = [label for label in labels if " " not in label]
    numbers = {"val": args.val_images, "train": args.images}
    words = split_words([word for word in found if fonts.can_draw(word)], numbers)
    print(label_filter.report)
    print(f"{len(labels) - len(found):,} of {len(labels):,} labels are several words.")
    print(f"{len(found) - sum(map(len, words.values())):,} of {len(found):,} words have no font.")
    others = ("corpora", "out", "workers")
    settings = {key: value for key, value in vars(args).items() if key not in others}
    settings.update(words={key: len(x) for key, x in words.items()})
    shards = [
        Shard(split, number, min(args.shard_size, images - first))
        for split, images in numbers.items()
        for number, first in enumerate(range(0, images, args.shard_size))
    ]
    # Drawn before the settings are written down: those that fail must not bind the folder.
    first = shards[0]._replace(size=min(SAMPLES, shards[0].size))
    images = [Image.open(io.BytesIO(x)) for x, _ in render(first, settings, words[first.split])]
    check_settings(args.out, settings)
    contact_sheet(images, 6).save(args.out / "sample.png")
    missing = [shard for shard in shards if not (args.out / shard.name).exists()]
    done = sum(x.size for x in shards) - sum(x.size for x in missing)
    with (
        ProcessPoolExecutor(args.workers) as pool,
        tqdm(total=sum(numbers.values()), initial=done, unit="image") as bar,
    ):
        write = partial(write_shard, settings=settings, words=words, out=args.out)
        for shard in pool.map(write, missing):
            bar.update(shard.size)
    write_annotations(args.out, shards)
    print(
        f"{args.out}: {args.images} images to train on and {args.val_images} of words held out; "
        f"look at {args.out / 'sample.png'}."
    )


if __name__ == "__main__":
    main()
