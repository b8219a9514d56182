# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Pack a trained CLIP as a file of a few megabytes, to be given as ``--pretrained``.

Weights are kept in float16, and of the token embedding only the rows of tokens that the training
prompts have.

Example:
    python tools/word_clip/export.py work_dirs/word_clip/.../epoch_latest.pt images \
        --out mmdptr/clip/weights/clip-word-tiny.safetensors
"""

import argparse
import json
from pathlib import Path

from mmdptr.clip import LoadedCLIP, Prompt, load_clip
from mmdptr.clip.packaged import pack
from mmdptr.extraction.arguments import exit_with_message


def training_tokens(clip: LoadedCLIP, annotations: Path) -> set[int]:
    """Return the tokens of all training prompts.

    Raises:
        FileNotFoundError: There are no annotations.
    """
    if not annotations.is_file():
        raise FileNotFoundError(f"There is no {annotations}. Give the folder of render_words.py.")
    prompt, tokenizer = Prompt(spelling="characters"), clip.tokenizer
    # Not splitlines, which also splits at separators that JSON strings may hold.
    lines = filter(None, annotations.read_text(encoding="utf-8").split("\n"))
    found = {tokenizer.sot_token_id, tokenizer.eot_token_id}
    for text in {json.loads(line)["text"] for line in lines}:
        found.update(tokenizer.encode(prompt(text)))
    return found


@exit_with_message
def main() -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkpoint", help="weights that open_clip_train wrote")
    parser.add_argument("images", type=Path, help="folder of render_words.py it was trained on")
    parser.add_argument("--model", default="clip-word-tiny", help="default: %(default)s")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    args = parser.parse_args()
    clip = load_clip(args.model, args.checkpoint)
    tokens = training_tokens(clip, args.images / "train.jsonl")
    pack(clip.model.state_dict(), tokens, args.out)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB, {len(tokens)} tokens")


if __name__ == "__main__":
    main()
