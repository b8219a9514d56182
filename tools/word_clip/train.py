# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Train a CLIP that reads words, by open_clip's own training program.

This makes our model known to it, writes the tables of images and prompts that it reads, and fills
in settings; all of its own options may follow and go before ours. The same command goes on from the
last checkpoint of a killed run.

Example:
    python tools/word_clip/train.py images --logs work_dirs/word_clip \
        --reader work_dirs/word_reader/iter_2500.pth
"""

import argparse
import csv
import json
import logging
import shlex
import sys
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import torch
from open_clip import factory
from open_clip_train.main import main
from torch.nn.attention import SDPBackend, sdpa_kernel

from mmdptr.bfloat16 import cpu_multiplies_bfloat16
from mmdptr.clip import CLIPTextEncoder, Prompt, load_clip

MODEL = "clip-word-tiny"
PART = "backbone.tower."  # of a recognizer: CLIP's image tower
SETTINGS = f"""
    --model {MODEL} --name {MODEL} --resume latest --seed 0 --workers 1
    --dataset-type csv --csv-img-key image --csv-caption-key prompt
    --batch-size 128 --epochs 3 --lr 7e-4 --wd 0.1 --warmup 100 --grad-clip-norm 1
    --log-every-n-steps 20 --save-most-recent --save-frequency 0
"""
# The images have their size already. Only timm's transform heeds the ratio: open_clip's own would
# show the model the middle of a word for the whole.
AUGMENTATION = ["--aug-cfg", "use_timm=True", "scale=(0.95, 1.0)", "ratio=(3.9, 4.1)"]


def write_table(annotations: Path, table: Path) -> None:
    """Write images and prompts as open_clip_train reads them, but for those that it would cut.

    Raises:
        FileNotFoundError: There are no annotations.
        ValueError: All prompts are too long.
    """
    if not annotations.is_file():
        raise FileNotFoundError(f"There is no {annotations}. Make it with render_words.py.")
    encoder = CLIPTextEncoder(load_clip(MODEL, "random"), Prompt(spelling="characters"))
    written, faults = 0, Counter[str]()
    with annotations.open(encoding="utf-8") as lines, table.open("w", encoding="utf-8") as file:
        writer = csv.writer(file, dialect="excel-tab")
        writer.writerow(["image", "prompt"])
        for line in lines:
            entry = json.loads(line)
            if fault := encoder.fault(encoder.tokenize(entry["text"])):
                faults[fault] += 1
                continue
            path = annotations.parent.resolve() / entry["filename"]
            writer.writerow([path, encoder.prompt(entry["text"])])
            written += 1
    for fault, number in faults.items():
        print(f"{annotations}: {number:,} of the words left out, each {fault}.")
    if not written:
        raise ValueError(f"{annotations} has no word that {MODEL} can hold. Draw shorter ones.")


def write_start(reader: Path, start: Path) -> None:
    """Write the weights of a new CLIP with the image tower of a recognizer that can read.

    Raises:
        ValueError: The recognizer has another image tower, or none.
    """
    weights = torch.load(reader, map_location="cpu", weights_only=True)["state_dict"]
    tower = {name.removeprefix(PART): x for name, x in weights.items() if name.startswith(PART)}
    model = load_clip(MODEL, "random").model
    if {k: v.shape for k, v in tower.items()} != {
        k: v.shape for k, v in model.visual.state_dict().items()
    }:
        raise ValueError(
            f"{reader} has no image tower of {MODEL} as backbone. Train it with "
            "configs/word_clip/nrtr_clip-word-tiny.py."
        )
    model.visual.load_state_dict(tower)
    torch.save(model.state_dict(), start)


def run() -> int:
    """Call open_clip_train."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], epilog="All others are open_clip_train's."
    )
    add = parser.add_argument
    add("images", type=Path, help="folder that render_words.py wrote")
    add("--logs", type=Path, required=True, help="folder for checkpoints")
    add("--reader", type=Path, help="checkpoint of a recognizer to begin with its image tower")
    args, others = parser.parse_known_args()
    args.logs.mkdir(parents=True, exist_ok=True)
    on_gpu = torch.cuda.is_available()
    precision = "amp_bf16" if on_gpu or cpu_multiplies_bfloat16() else "fp32"
    settings = [*shlex.split(SETTINGS), *AUGMENTATION, "--precision", precision]
    settings += ["--logs", str(args.logs)]
    for split in ("train", "val"):
        table = args.logs / f"{args.images.name}_{split}.tsv"
        write_table(args.images / f"{split}.jsonl", table)
        settings += [f"--{split}-data", str(table)]
    if args.reader:
        write_start(args.reader, args.logs / "start.pt")
        settings += ["--pretrained", str(args.logs / "start.pt")]
    logging.getLogger().handlers.clear()  # open_clip adds its own, and each line came twice
    # open_clip 3.3 adds the size, a list in JSON, to a tuple when it makes the transform of timm.
    vision = factory._MODEL_CONFIGS[MODEL]["vision_cfg"]
    vision["image_size"] = tuple(vision["image_size"])
    # The backward pass of the fused kernel is slow in bfloat16 on CPUs: see BF16OptimWrapper.
    with nullcontext() if on_gpu or precision == "fp32" else sdpa_kernel(SDPBackend.MATH):
        return main([*settings, *others])


if __name__ == "__main__":
    try:
        sys.exit(run())
    except (OSError, ValueError) as error:
        sys.exit(f"Error: {error}")
