"""``python -m lra sweep``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lra.sweep import DEFAULT_ALLOCATION, OWN, Sweep, sweep
from ssmreduce.progress import progress_bar
from theory.arithmetic.threads import cores
from theory.errors import MissingDependencyError

DESCRIPTION = """\
Reduce a trained model by every method, allocation and ratio, without a compilation for each, and measure every one:
accuracy on a split that is named, changed predictions, certified errors of the layers (for all inputs), errors on
recorded inputs, states, parameters, bytes. DIR gets sweep.csv, sweep.json and sweep.png; the same command again does
only what is missing. Labels of the training split are never read.
"""


def add_sweep_command(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = DESCRIPTION
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", type=Path, help="NAME.safetensors, NAME.json beside it")
    add("--data", metavar="FOLDER", help="folder (or file) of the task's data; default: $LRA_DATA")
    add("--ratios", required=True, metavar="R,R,..", help="fractions of the states to remove: 0.5,0.75 or 0.1:0.9:0.1")
    add(
        "--methods", required=True, metavar="M,M,..",
        help="names of ssmreduce.METHODS, as name or name(parameter=value), and `recorded` (whole models)",
    )  # fmt: skip
    add(
        "--allocations", default=DEFAULT_ALLOCATION, metavar="A,..",
        help=f"how the budget is spread over the layers, the same for all methods (default: {DEFAULT_ALLOCATION}); "
        f"`{OWN}` is each method's own",
    )  # fmt: skip
    add(
        "--seeds", type=int, default=1, metavar="N",
        help="seeds 0 ... N-1 for methods that draw poles, or the examples they are fitted to (default: 1)",
    )  # fmt: skip
    add(
        "--split", default="test", choices=("test", "validation"),
        help="what accuracy is measured on: report `test` (default), choose by `validation`",
    )  # fmt: skip
    add("--examples", type=int, metavar="N", help="N examples, spread over the split (default: all)")
    add(
        "--recorded", type=int, default=200, metavar="N",
        help="unlabelled training examples for methods that need recorded inputs (default: 200)",
    )  # fmt: skip
    add("--time", action="store_true", help="time the models at their own size, too: compiles each")
    add("--jobs", type=int, metavar="N", help="processes that certify errors (default: one a core)")
    add("--clip-eigs", action="store_true", help="hold unstable poles inside the circle, as S5's clip_eigs does")
    add("--quiet", action="store_true", help="no progress")
    add("-o", "--output", required=True, type=Path, metavar="DIR", help="folder for sweep.csv, sweep.json, sweep.png")


def run_sweep(arguments: argparse.Namespace) -> int:
    """Run it, print the table, draw the figure."""
    folder = arguments.output
    try:
        with progress_bar(quiet=arguments.quiet) as report:
            found = sweep(
                arguments.checkpoint,
                ratios=arguments.ratios,
                methods=arguments.methods,
                allocations=arguments.allocations,
                seeds=arguments.seeds,
                data=arguments.data,
                split=arguments.split,
                examples=arguments.examples,
                recorded=arguments.recorded,
                time=arguments.time,
                folder=folder,
                jobs=cores() if arguments.jobs is None else arguments.jobs,
                clip_eigs=arguments.clip_eigs,
                progress=report,
            )
    except KeyboardInterrupt:
        print(f"stopped; finished rows are in {folder}, the same command goes on from there", file=sys.stderr)
        return 130
    print(found, end="")
    drawn = _draw(found, folder / "sweep.png")
    print(f"wrote {folder / 'sweep.csv'}, sweep.json{', sweep.png' if drawn else ''}")
    return 0


def _draw(found: Sweep, path: Path) -> bool:
    from ssmreduce.files.writing import write_files
    from ssmreduce.view.canvas import image

    try:
        figure = found.plot()
    except MissingDependencyError as error:
        print(f"note: no figure: {error}", file=sys.stderr)
        return False
    write_files({path: image(figure)})
    return True
