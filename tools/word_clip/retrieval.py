# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""How well a CLIP finds the word of a word image, and the image of a word.

A set is an annotation file of one {"filename": ..., "text": ...} a line. Each image is looked up
among the prompts of all different words of its set, and each word among all images. Case and all
but letters, their marks and digits aside.

Example:
    python tools/word_clip/retrieval.py --pretrained work_dirs/word_clip/.../epoch_latest.pt \
        images/val.jsonl data/real7k/test_iiit5k.jsonl
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import regex
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from mmdptr.clip import CLIPTextEncoder, LoadedCLIP, Prompt, load_clip
from mmdptr.extraction.arguments import add_clip_arguments, exit_with_message


class Retrieval(NamedTuple):
    """What was found, in % of the first or the first five.

    Args:
        images (int): Images of the set.
        words (int): Different words.
        word_at_1 (float): Images whose word comes first.
        word_at_5 (float): Images whose word is among the first five.
        image_at_1 (float): Words for which an image of theirs comes first.
    """

    images: int
    words: int
    word_at_1: float
    word_at_5: float
    image_at_1: float


def read_set(path: Path) -> Iterator[tuple[Image.Image, str]]:
    """Read images and words of an annotation file."""
    # Not splitlines, which also splits at separators that JSON strings may hold.
    for line in filter(None, path.read_text(encoding="utf-8").split("\n")):
        entry = json.loads(line)
        with Image.open(path.parent / entry["filename"]) as file:
            yield file.convert("RGB"), entry["text"]


def normalize(text: str) -> str:
    """Return a text in lower case with letters, their marks and digits only."""
    return regex.sub(r"[^\p{L}\p{M}\p{N}]", "", text.lower())


@torch.inference_mode()
def embed_images(clip: LoadedCLIP, images: list[Tensor]) -> Tensor:
    """Embed preprocessed images: (N, C), of norm 1."""
    model = clip.model
    parts = [
        model.encode_image(torch.stack(images[i : i + 256]).to(clip.device, clip.dtype))
        for i in tqdm(range(0, len(images), 256), unit="batch", leave=False)
    ]
    return functional.normalize(torch.cat(parts).float(), dim=-1)


def retrieve(clip: LoadedCLIP, path: Path) -> Retrieval:
    """Measure retrieval on a set."""
    height, width = clip.model.visual.image_size
    encoder = CLIPTextEncoder(clip, Prompt(spelling="characters"))
    images, texts, faults = [], [], Counter[str]()
    for image, text in read_set(path):
        word = normalize(text)
        if word and (fault := encoder.fault(encoder.tokenize(word))):
            faults[fault] += 1
        elif word:
            # To the size that CLIP reads, as in training, so that its own cropping cuts nothing.
            squashed = image.resize((width, height), Image.Resampling.BICUBIC)
            images.append(clip.preprocess(squashed))
            texts.append(word)
    for fault, number in faults.items():
        print(f"{path}: {number} of the words left out, each {fault}.")
    if not texts:
        raise ValueError(f"{path} has no word that this CLIP knows. Give a set of its script.")
    words = sorted(set(texts))
    of_words = functional.normalize(encoder.encode(words).pooled.float(), dim=-1)
    scores = embed_images(clip, images) @ of_words.T
    target = torch.tensor([words.index(text) for text in texts])
    ranks = (scores > scores.gather(1, target[:, None])).sum(1)
    found = target[scores.argmax(0)] == torch.arange(len(words))

    def percent(x: Tensor) -> float:
        return round(100 * x.float().mean().item(), 1)

    counts = (percent(ranks < 1), percent(ranks < 5), percent(found))
    return Retrieval(len(images), len(words), *counts)


@exit_with_message
def main() -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sets", nargs="+", type=Path, help="annotation files")
    add_clip_arguments(parser)
    parser.set_defaults(model="clip-word-tiny")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    clip = load_clip(args.model, args.pretrained, args.device, args.precision, args.seed)
    print("| set | images | words | word first, % | word in the first five | image first |")
    print("|---|---:|---:|---:|---:|---:|")
    for path in args.sets:
        found = retrieve(clip, path)
        print(f"| {path.stem} | {' | '.join(map(str, found))} |")


if __name__ == "__main__":
    main()
