# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Train a CLIP that reads words, by open_clip's own training program.

This makes our model known to it and fills in settings; all of its own options may follow and go
before ours. The same command goes on from the last checkpoint of a killed run.

Example:
    python tools/word_clip/train.py images --logs work_dirs/word_clip --epochs 50
"""

import argparse
import json
import shlex
import sys
from contextlib import nullcontext
from pathlib import Path

import torch
from open_clip import factory
from open_clip_train.main import main
from torch.nn.attention import SDPBackend, sdpa_kernel

import mmdptr.clip  # noqa: F401  registers clip-word-tiny

# An epoch is a hundred steps, after which it may be killed. With these a small CLIP is trained on
# two CPU cores in about an hour; a GPU has time for more: --batch-size 2048 --epochs 100.
SETTINGS = """
    --model clip-word-tiny --name clip-word-tiny --resume latest --seed 0
    --dataset-type webdataset --dataset-resampled --train-num-samples 25600 --workers 1
    --batch-size 256 --epochs 30 --lr 1e-3 --wd 0.1 --warmup 200 --grad-clip-norm 1
    --precision amp_bf16 --log-every-n-steps 10 --val-frequency 5
    --save-most-recent --save-frequency 0
"""
# The images have their size already. Only timm's transform heeds the ratio: open_clip's own would
# show the model the middle of a word for the whole.
AUGMENTATION = ["--aug-cfg", "use_timm=True", "scale=(0.95, 1.0)", "ratio=(3.9, 4.1)"]

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], epilog="All others are open_clip_train's."
    )
    parser.add_argument("images", type=Path, help="folder that render_words.py wrote")
    args, others = parser.parse_known_args()
    settings = args.images / "settings.json"
    if not settings.exists():
        sys.exit(f"Error: {args.images} has no settings.json. Make it with render_words.py.")
    found = json.loads(settings.read_text(encoding="utf-8"))
    if found["format"] != "webdataset":
        sys.exit(f"Error: {args.images} holds {found['format']}. Give --format webdataset.")
    last = len(list(args.images.glob("train-*.tar"))) - 1
    data = ["--train-data", str(args.images / f"train-{{00000..{last:05d}}}.tar")]
    data += ["--val-data", str(args.images / "val-00000.tar")]
    data += ["--val-num-samples", str(min(found["val_images"], found["shard_size"]))]
    # open_clip 3.3 adds the size, a list in JSON, to a tuple when it makes the transform of timm.
    vision = factory._MODEL_CONFIGS["clip-word-tiny"]["vision_cfg"]
    vision["image_size"] = tuple(vision["image_size"])
    # The backward pass of the fused kernel is slow in bfloat16 on CPUs: see BF16OptimWrapper.
    plain = nullcontext() if torch.cuda.is_available() else sdpa_kernel(SDPBackend.MATH)
    with plain:
        sys.exit(main([*shlex.split(SETTINGS), *AUGMENTATION, *data, *others]))
