# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""What the command lines of both extractions share."""

import argparse
import functools
import sys
from collections.abc import Callable

from mmdptr.clip.loading import PRECISIONS


def add_clip_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that choose a CLIP and where it runs."""
    clip = parser.add_argument_group("CLIP")
    clip.add_argument("--model", default="ViT-B-16-quickgelu", help="open_clip's model name")
    clip.add_argument(
        "--pretrained",
        default="openai",
        help="open_clip's tag, a weights file, 'packaged' or 'random'",
    )
    clip.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of the computation")
    clip.add_argument("--device", default="cpu", help="'cpu', 'cuda', 'cuda:1', ...")
    clip.add_argument("--seed", type=int, default=0, help="of random weights and drawn images")
    clip.add_argument("--threads", type=int, help="CPU threads; default: PyTorch's choice")


def exit_with_message(main: Callable[[], None]) -> Callable[[], None]:
    """Show errors that say what to do as a message instead of a traceback."""

    @functools.wraps(main)
    def wrapper() -> None:
        try:
            main()
        except (ValueError, OSError, RuntimeError) as error:
            sys.exit(f"Error: {error}")

    return wrapper
