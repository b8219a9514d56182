# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""Draw scalars of one or more work dirs: one panel a scalar, one curve a run."""

import argparse

from mmdptr.engine.work_dir import read_curve
from mmdptr.extraction.arguments import exit_with_message
from mmdptr.visualization import draw_curves


@exit_with_message
def main() -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="NAME=WORK_DIR", help="curve name and work dir")
    parser.add_argument("--keys", nargs="+", default=["loss"], help="scalars; default: loss")
    parser.add_argument("--out", default="curves.png", help="default: %(default)s")
    args = parser.parse_args()
    runs = dict(run.split("=", 1) for run in args.runs)
    panels = {}
    for key in args.keys:
        curves = {name: read_curve(folder, key) for name, folder in runs.items()}
        panels[key] = {name: curve for name, curve in curves.items() if curve}
        if not panels[key]:
            raise ValueError(f"None of the runs logged {key!r}; see their vis_data/scalars.json.")
    draw_curves(panels).savefig(args.out, dpi=120)
    print(f"Picture: {args.out}")


if __name__ == "__main__":
    main()
