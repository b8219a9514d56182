# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""From word lists, fonts and photographs to a small CLIP that reads the words of a script.

Draws the images, trains, packs the weights and says how well words are found: the other tools of
this folder, one after the other. A killed run goes on where it was. Options that are not below are
open_clip_train's.

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


def call(tool: Path, *arguments: object) -> None:
    """Run a tool of ours; end where it fails, with its own message above."""
    print(f"\n{tool.name} {' '.join(map(str, arguments))}", flush=True)
    if code := subprocess.run([sys.executable, str(tool), *map(str, arguments)]).returncode:
        sys.exit(code)


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
    add("--images", type=int, default=400_000, help="for training; default: %(default)s")
    add("--val-images", type=int, default=5_000, help="of other words; default: %(default)s")
    args, others = parser.parse_known_args()
    name = f"clip-word-{args.script}"
    images, weights = args.out / args.script, args.out / f"{name}.safetensors"
    drawing = ["--fonts", *args.fonts, "--backgrounds", args.backgrounds, "--out", images]
    drawing += ["--format", "webdataset", "--size", *SIZE]
    drawing += ["--images", args.images, "--val-images", args.val_images]
    call(HERE.parent / "render_words.py", *args.corpora, *drawing)
    call(HERE / "train.py", images, "--logs", args.out, "--name", name, *others)
    checkpoint = args.out / name / "checkpoints" / "epoch_latest.pt"
    call(HERE / "export.py", checkpoint, images, "--out", weights)
    call(HERE / "retrieval.py", images / "val-00000.tar", "--pretrained", weights)
    print(f"\nUse it as: --model clip-word-tiny --pretrained {weights} --spelling characters")


if __name__ == "__main__":
    main()
