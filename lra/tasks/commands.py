"""``python -m lra data``: generate data sets, convert them ahead of training, and check what was converted."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from lra.tasks import listops_generator, pathfinder_generator
from lra.tasks.conversion import cache_folder
from lra.tasks.converted import open_converted

LONG = 200  # characters of a note that are shown


def add_data_commands(parser: argparse.ArgumentParser) -> None:
    """Add the commands ``listops, pathfinder, convert, verify`` below a parser."""
    commands = parser.add_subparsers(dest="data_command", required=True, metavar="WHAT")
    listops = commands.add_parser("listops", help="draw a ListOps data set with the published distribution")
    listops_generator.add_arguments(listops)
    listops.set_defaults(run_data=listops_generator.run)
    pathfinder = commands.add_parser("pathfinder", help="draw a Pathfinder or Path-X data set by the published rules")
    pathfinder_generator.add_arguments(pathfinder)
    pathfinder.set_defaults(run_data=pathfinder_generator.run)
    convert = commands.add_parser("convert", help="convert a task's data now; training would do it at its start")
    convert.add_argument("task", metavar="TASK", help="a task's name, as in the configs")
    convert.add_argument("--data", help="folder (or file) of the task's data; default: $LRA_DATA")
    convert.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="options", help="an option of the task's loader"
    )
    convert.set_defaults(run_data=_convert)
    verify = commands.add_parser("verify", help="compare a converted data set with the digests in its manifest")
    verify.add_argument("folder", type=Path)
    verify.set_defaults(run_data=_verify)


def run_data(arguments: argparse.Namespace) -> int:
    """Run the parsed command."""
    arguments.run_data(arguments)
    return 0


def _convert(arguments: argparse.Namespace) -> None:
    from lra.config import parse_override
    from lra.tasks import load_task

    start = time.perf_counter()
    task = load_task(arguments.task, arguments.data, dict(parse_override(text) for text in arguments.options))
    sizes = ", ".join(f"{len(getattr(task, part))} {part}" for part in ("train", "validation", "test"))
    print(f"{task.name}: {sizes}; {task.n_classes} classes, length {task.L}, input width {task.d_input}")
    print(f"{time.perf_counter() - start:.1f} s; conversions lie in {cache_folder()}")


def _verify(arguments: argparse.Namespace) -> None:
    data = open_converted(arguments.folder, verify=True)
    print(f"{data.folder}: {data.manifest['kind']}, complete, digests agree")
    print(f"source: {data.manifest['source_files']} files, sha256 {data.manifest['source_sha256']}")
    for name, array in data.arrays.items():
        print(f"  {name} {array.dtype} {array.shape}")
    for name, note in data.notes.items():
        text = str(note)
        print(f"  {name}: {text if len(text) <= LONG else text[:LONG] + ' ...'}")
