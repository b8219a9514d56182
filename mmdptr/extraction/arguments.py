# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""What the command lines of both extractions share."""

import argparse
import functools
import sys
from collections.abc import Callable
from typing import Any

from mmdptr.clip.loading import PRECISIONS
from mmdptr.writing import LETTER_CASES


def add_clip_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that choose a CLIP and where it runs."""
    clip = parser.add_argument_group("CLIP")
    clip.add_argument("--model", default="ViT-B-16-quickgelu", help="open_clip's model name")
    clip.add_argument(
        "--pretrained",
        help="open_clip's tag, a weights file, 'packaged' or 'random'; default: those that come "
        "with the model or with mmdptr, else 'openai'",
    )
    clip.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of the computation")
    clip.add_argument("--device", default="cpu", help="'cpu', 'cuda', 'cuda:1', ...")
    clip.add_argument("--seed", type=int, default=0, help="of random weights and drawn images")
    clip.add_argument("--threads", type=int, help="CPU threads; default: PyTorch's choice")


def add_label_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of how labels are normalised, named like those of ``LabelFilter``."""
    form = parser.add_argument_group("how labels are written")
    form.add_argument(
        "--letter-case",
        choices=LETTER_CASES,
        default="lower",
        help="CLIP lower-cases what it reads: case cannot be learnt from it",
    )
    form.add_argument(
        "--unicode-form",
        choices=("NFC", "NFD", "NFKC", "NFKD", "none"),
        default="NFC",
        help="NFKC also makes one of full-width and plain forms",
    )
    form.add_argument("--language", help="whose letter case has rules of its own: tr, az")


def label_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return what the arguments of :func:`add_label_arguments` mean to ``LabelFilter``."""
    form = None if args.unicode_form == "none" else args.unicode_form
    return {
        "letter_case": args.letter_case,
        "unicode_form": form,
        "language": args.language,
    }


def exit_with_message(main: Callable[[], None]) -> Callable[[], None]:
    """Show errors that say what to do as a message instead of a traceback."""

    @functools.wraps(main)
    def wrapper() -> None:
        try:
            main()
        except (ValueError, OSError, RuntimeError) as error:
            sys.exit(f"Error: {error}")

    return wrapper
