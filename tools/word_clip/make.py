# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""From word lists, fonts and photographs to a small CLIP that reads the words of a script.

Draws the images, lets the image tower learn to read, trains, packs the weights and says how well
words are found: other tools, one after the other. A killed run goes on where it was. Options that
are not below are open_clip_train's.

Example:
    python tools/word_clip/make.py bengali wordfreq:bn --fonts fonts --backgrounds photographs \
        --epochs 20
"""

import argparse
import subprocess
import sys
from pathlib import Path

from mmdptr.extraction.arguments import exit_with_message

HERE = Path(__file__).parent
SIZE = ("32", "128")  # of clip-word-tiny's images
CONFIG = HERE.parents[1] / "configs" / "word_clip" / "nrtr_clip-word-tiny.py"


def call(tool: Path, *arguments: object) -> None:
    """Run a tool of ours; end where it fails, with its own message above."""
    print(f"\n{tool.name} {' '.join(map(str, arguments))}", flush=True)
    if code := subprocess.run([sys.executable, str(tool), *map(str, arguments)]).returncode:
        sys.exit(code)


def build_dictionary(images: Path) -> Path:
    """Make a dictionary of all that is written on the images."""
    dictionary, labels = images / "dictionary.txt", (images / "train.jsonl", images / "val.jsonl")
    call(HERE.parent / "build_dictionary.py", *labels, "--out", dictionary)
    return dictionary


def train_reader(images: Path, dictionary: Path, work_dir: Path, steps: int) -> Path:
    """Train a recognizer on the images and return its last checkpoint."""
    options = {
        "train_dataloader.dataset.data_root": images,
        "test_dataloader.dataset.data_root": images,
        "val_dataloader.dataset.data_root": images,
        "model.decoder.dictionary.dict_file": dictionary,
        "train_cfg.max_iters": steps,
        "train_cfg.val_interval": steps,
        "param_scheduler.1.end": steps,
    }
    settings = [f"{key}={value}" for key, value in options.items()]
    folder = ("--work-dir", work_dir, "--resume")
    call(HERE.parent / "train.py", CONFIG, *folder, "--cfg-options", *settings)
    return Path((work_dir / "last_checkpoint").read_text(encoding="utf-8"))


@exit_with_message
def main() -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("script", help="what it reads; the CLIP is called clip-word-<script>")
    add("corpora", nargs="+", help="word lists, in the formats of stage 1")
    add("--fonts", nargs="+", required=True, help="folders of .ttf, .otf and .woff files")
    add("--backgrounds", required=True, help="folder of photographs without text")
    add("--out", type=Path, default="data/word_clip", help="folder; default: %(default)s")
    add("--dictionary", type=Path, help="words of other characters are left out")
    add("--codes", type=float, default=0.08, help="part of numbers and codes; default: %(default)s")
    add("--images", type=int, default=120_000, help="for training; default: %(default)s")
    add("--val-images", type=int, default=5_000, help="of other words; default: %(default)s")
    add("--reader-steps", type=int, default=1600, help="of 128 images; default: %(default)s")
    args, others = parser.parse_known_args()
    name = f"clip-word-{args.script}"
    images, weights = args.out / args.script, args.out / f"{name}.safetensors"
    drawing = ["--fonts", *args.fonts, "--backgrounds", args.backgrounds, "--out", images]
    drawing += ["--size", *SIZE, "--images", args.images, "--val-images", args.val_images]
    drawing += ["--codes", args.codes]
    if args.dictionary:
        drawing += ["--dictionary", args.dictionary]
    call(HERE.parent / "render_words.py", *args.corpora, *drawing)
    dictionary = args.dictionary or build_dictionary(images)
    reader = train_reader(images, dictionary, args.out / f"{name}-reader", args.reader_steps)
    logs = ("--logs", args.out, "--name", name, "--reader", reader)
    call(HERE / "train.py", images, *logs, *others)
    checkpoint = args.out / name / "checkpoints" / "epoch_latest.pt"
    call(HERE / "export.py", checkpoint, images, "--out", weights)
    call(HERE / "retrieval.py", images / "val.jsonl", "--pretrained", weights)
    print(f"\nUse it as: --model clip-word-tiny --pretrained {weights} --spelling characters")


if __name__ == "__main__":
    main()
