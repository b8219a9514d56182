# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Make a small sample set for a demo: words, word images and background pictures.

Nothing is downloaded: the words come from the vocabulary of open_clip, the fonts from matplotlib,
and the pictures from scikit-image.

Example:
    python tools/make_demo_data.py data/demo
"""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from demo_rendering import PHOTOS, cut_background, render_word
from demo_words import split_words
from PIL import Image
from tqdm import tqdm

from mmdptr.rendering import contact_sheet

SPLITS = ("train", "test")
DONE, STARTED = "demo.json", "demo.json.partial"


def write_images(
    folder: Path, split: str, words: Sequence[str], seed: int, pictures: Sequence[Image.Image]
) -> list[Image.Image]:
    """Render one image a word and write the labels.

    Args:
        folder (Path): Folder of the sample set.
        split (str): ``train`` or ``test``.
        words (Sequence[str]): Words to render, in lower case.
        seed (int): Seed of the sample set.
        pictures (Sequence[Image.Image]): Pictures for backgrounds.

    Returns:
        list[Image.Image]: The images.
    """
    (folder / split).mkdir()
    images, labels = [], []
    for index, word in enumerate(
        tqdm(words, desc=f"{split} images", unit="image", mininterval=0.5)
    ):
        # A generator for each image: more images of a split leave the earlier ones as they were.
        rng = np.random.default_rng([SPLITS.index(split) + 1, index, seed])
        text = (word, word.capitalize(), word.upper())[rng.choice(3, p=[0.4, 0.3, 0.3])]
        name = f"{split}/{index + 1:05d}.png"
        images.append(render_word(rng, text, pictures))
        images[-1].save(folder / name, compress_level=1)  # noise hardly shrinks more
        labels.append(json.dumps({"filename": name, "text": text}) + "\n")
    (folder / f"labels_{split}.jsonl").write_text("".join(labels), encoding="utf-8")
    return images


def prepare_folder(folder: Path, wanted: dict[str, int], overwrite: bool) -> bool:
    """Check what the folder holds and clear what an earlier run left.

    Args:
        folder (Path): Folder of the sample set.
        wanted (dict[str, int]): Arguments of this run.
        overwrite (bool): Whether a different or unknown sample set may be replaced.

    Returns:
        bool: Whether there is anything to make.

    Raises:
        FileExistsError: If the folder holds something else and ``overwrite`` is off.
    """
    names = ("words.txt", "labels_train.jsonl", "labels_test.jsonl", "sample.png")
    paths = [folder / name for name in (*names, *SPLITS, "backgrounds")]
    held = [path.name for path in paths if path.exists()]
    fix = "name another folder or pass --overwrite"
    if (folder / DONE).exists():
        found = json.loads((folder / DONE).read_text(encoding="utf-8"))
        if found == wanted:
            return False
        different = ", ".join(
            f"--{key} {found.get(key)} (expected {wanted.get(key)})"
            for key in sorted({*found, *wanted})
            if found.get(key) != wanted.get(key)
        )
        if not overwrite:
            raise FileExistsError(f"{folder} was made with {different}; {fix}")
    elif held and not (folder / STARTED).exists() and not overwrite:
        raise FileExistsError(f"{folder} holds {', '.join(held)}, but no {DONE}; {fix}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / STARTED).write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
    for path in [folder / DONE, *paths]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return True


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        argv (Sequence[str], optional): Arguments; None reads ``sys.argv``. Defaults to None.
    """
    parser = argparse.ArgumentParser(description="Make a small rendered sample set for a demo.")
    parser.add_argument("folder", type=Path, help="folder to write, such as data/demo")
    add = parser.add_argument
    add("--train", type=int, default=4000, help="number of training images (default: 4000)")
    add("--test", type=int, default=400, help="number of test images (default: 400)")
    add("--words", type=int, default=20000, help="number of words in words.txt (default: 20000)")
    add("--backgrounds", type=int, default=36, help="number of background pictures (default: 36)")
    add("--sample", type=int, default=24, help="test images on sample.png, 0: none (default: 24)")
    add("--seed", type=int, default=0, help="seed of everything random (default: 0)")
    add("--overwrite", action="store_true", help="replace a sample set of other arguments")
    args = vars(parser.parse_args(argv))
    folder, overwrite = args.pop("folder"), args.pop("overwrite")
    for key, value in args.items():
        if value < (least := int(key in SPLITS)):
            parser.error(f"expected --{key} of at least {least}, found {value}")
    try:
        rng = np.random.default_rng(args["seed"])
        train, test, corpus = split_words(rng, args["train"], args["test"], args["words"])
        if not prepare_folder(folder, args, overwrite):
            print(f"{folder} is complete; nothing to do")
            return
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")

    (folder / "words.txt").write_text("\n".join(corpus) + "\n", encoding="utf-8")
    (folder / "backgrounds").mkdir()
    pictures = [
        cut_background(rng, PHOTOS[index % len(PHOTOS)]) for index in range(args["backgrounds"])
    ]
    for index, picture in enumerate(pictures):
        picture.save(folder / "backgrounds" / f"{index + 1:03d}.jpg", quality=90)
    write_images(folder, "train", train, args["seed"], pictures)
    images = write_images(folder, "test", test, args["seed"], pictures)
    if args["sample"]:
        contact_sheet(images[: args["sample"]]).save(folder / "sample.png")
    (folder / STARTED).replace(folder / DONE)
    print(f"wrote {len(train)} training and {len(test)} test images to {folder}")


if __name__ == "__main__":
    main()
