"""The command line: compare, inspect and reduce trained checkpoints."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from ssmreduce import __version__
from theory.errors import InputError, MissingDependencyError, OrderError, SSMReduceError, ToleranceError

OK, UNEXPECTED, USAGE, UNREADABLE, UNCERTIFIED, MISSING, UNWRITABLE, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 130

DESCRIPTION = """\
Reduce the state dimension of trained state space layers (S5, S4D), with a proof of what the smaller layer gets wrong."""

EXAMPLES = """\
examples:
  ssmreduce compare                                        the trained model that comes with the package
  ssmreduce compare model.safetensors --layer 2            one layer of yours, every method at eight orders
  ssmreduce compare model.safetensors --methods balanced,last --orders 8,16,32 --html report.html --json rows.json
  ssmreduce inspect model.safetensors                      what is in a checkpoint, and how compressible each layer is
  ssmreduce reduce model.safetensors --ratio 0.5 --output small.safetensors

exit status:
    0  done
    1  a bug in ssmreduce: please report it
    2  the command or its input makes no sense (unknown method, order too high, unstable layer, ...)
    3  the checkpoint cannot be read (missing, a directory, truncated, a pickle, ...)
    4  the result is not certified: a law is violated, or no method delivered
    5  an optional package is missing; the message names what to install
    6  an output cannot be written; nothing is left half-written
  130  interrupted
"""

OPTION_HELP = "what the arrays of a checkpoint cannot tell; a JSON file beside it usually says"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    try:
        arguments = _parser().parse_args(argv)
        status: int = arguments.run(arguments)
        sys.stdout.flush()
        return status
    except _OutputError as error:
        return _fail(error, UNWRITABLE)
    except KeyboardInterrupt:
        return _fail("interrupted; nothing is left half-written", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone: not an error of ours
        return OK
    except MissingDependencyError as error:
        return _fail(error, MISSING)
    except MemoryError:
        return _fail("out of memory", UNEXPECTED)
    except SSMReduceError as error:
        return _fail(error, _status_of(error))


class _OutputError(Exception):
    """An output cannot be written."""


def _status_of(error: SSMReduceError) -> int:
    from ssmreduce.storage import CheckpointError, CheckpointIOError

    if isinstance(error, (CheckpointError, CheckpointIOError)):
        return UNREADABLE
    if isinstance(error, ArithmeticError):
        return UNCERTIFIED
    return USAGE


def _fail(message: object, status: int) -> int:
    print(f"ssmreduce: {message}", file=sys.stderr)
    return status


# --- arguments ------------------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message}\n(--help says more)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="ssmreduce", description=DESCRIPTION, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"ssmreduce {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=_Parser)
    _add_compare(commands)
    _add_inspect(commands)
    _add_reduce(commands)
    return parser


def _add_command(commands: Any, name: str, run: Any, text: str, checkpoint: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(run=run)
    nargs = "?" if checkpoint.startswith("[") else None
    parser.add_argument("checkpoint", nargs=nargs, metavar="CHECKPOINT", help=checkpoint.lstrip("["))
    parser.add_argument("-q", "--quiet", action="store_true", help="print nothing but errors (and JSON if asked for)")
    group = parser.add_argument_group("model options", OPTION_HELP)
    group.add_argument(
        "--conj-sym", action=argparse.BooleanOptionalAction, help="one eigenvalue of each conjugate pair is stored"
    )
    group.add_argument("--clip-eigs", action=argparse.BooleanOptionalAction, help="the model clips Re(Lambda) at -1e-4")
    group.add_argument("--discretization", choices=("zoh", "bilinear"))
    group.add_argument("--step-rescale", type=float, metavar="X", help="factor on all step sizes")
    return parser


def _add_compare(commands: Any) -> None:
    text = "reduce one layer by every method at several orders, and certify each error"
    where = "[file with the trained parameters (safetensors, npz, Flax msgpack); the shipped model when left out"
    parser = _add_command(commands, "compare", _compare, text, where)
    parser.add_argument("--layer", metavar="L", help="number (from 0) or name of the layer; default: the first")
    parser.add_argument("--methods", metavar="M,M", type=_names, help="names, separated by commas; default: all")
    parser.add_argument(
        "--orders", metavar="N,N", type=_orders, help="stored states to keep; default: up to eight orders"
    )
    parser.add_argument(
        "--rtol", type=float, default=1e-3, metavar="X", help="relative width of the error brackets (default 1e-3)"
    )
    parser.add_argument("--crosscheck", choices=("auto", "all", "none"), default="auto",
                        help="ask python-control: for all rows, for as many as fit in the time, or not at all")  # fmt: skip
    parser.add_argument(
        "--crosscheck-seconds", type=float, default=15.0, metavar="S", help="time for auto (default 15)"
    )
    parser.add_argument("--seed", type=int, default=0, help="for the method random (default 0)")
    parser.add_argument(
        "--json", metavar="FILE", help="write everything as JSON; - writes it to the output instead of the table"
    )
    parser.add_argument("--plot", metavar="FILE", help="write the figure (png, svg or pdf)")
    parser.add_argument("--html", metavar="FILE", help="write the report, one HTML file with everything in it")
    parser.add_argument(
        "--output", metavar="DIR", help="folder for compare.json, compare.png and compare.html, all three"
    )


def _add_inspect(commands: Any) -> None:
    text = "say what a checkpoint holds: layers, sizes, options, stability, and how compressible each layer is"
    parser = _add_command(commands, "inspect", _inspect, text, "[checkpoint; the shipped model when left out")
    parser.add_argument(
        "--json", metavar="FILE", help="write it as JSON; - writes it to the output instead of the table"
    )


def _add_reduce(commands: Any) -> None:
    text = "write a smaller checkpoint that the original code can run"
    parser = _add_command(commands, "reduce", _reduce, text, "file with the trained parameters")
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--ratio", type=float, metavar="X", help="part of all stored states to remove, between 0 and 1")
    size.add_argument("--order", type=int, metavar="N", help="stored states to keep in every layer")
    parser.add_argument("--method", default="balanced", help="name of a method (default balanced)")
    parser.add_argument("--allocation", help="how the states are spread over the layers (with --ratio)")
    parser.add_argument("--seed", type=int, default=0, help="for the method random (default 0)")
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help="the checkpoint to write")
    parser.add_argument("--force", action="store_true", help="replace the output if it exists")
    parser.add_argument("--json", metavar="FILE", help="write what was done, layer by layer, as JSON; - for the output")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _orders(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise argparse.ArgumentTypeError(f"whole numbers separated by commas are needed, got {text!r}") from None


# --- files ----------------------------------------------------------------------------------------------------------


def check_writable(path: str | None, *, force: bool = True) -> None:
    """Refuse an output that could not be written, before hours of work and not after."""
    if path is None or path == "-":
        return
    target = Path(path)
    folder = target.parent
    if target.is_dir():
        raise _OutputError(f"{target} is a directory; name a file in it")
    if not folder.is_dir():
        raise _OutputError(f"{target}: the folder {folder} does not exist; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _OutputError(f"{target}: the folder {folder} is not writable")
    if target.exists() and not force:
        raise _OutputError(f"{target} exists; --force replaces it")


def _written(path: str, content: bytes) -> None:
    from ssmreduce.storage import CheckpointIOError, write_files

    try:
        write_files({Path(path): content})
    except CheckpointIOError as error:
        raise _OutputError(str(error)) from None


def _load(arguments: argparse.Namespace) -> Any:
    from ssmreduce.checkpoint import load
    from ssmreduce.shipped import shipped_checkpoint

    options = {key: getattr(arguments, key) for key in ("conj_sym", "clip_eigs", "discretization", "step_rescale")}
    path = arguments.checkpoint or shipped_checkpoint()
    return load(path, **{key: value for key, value in options.items() if value is not None})


def _layer(model: Any, wanted: str | None) -> Any:
    if wanted is None:
        return model.layers[0]
    by_name = {layer.name: layer for layer in model.layers}
    if wanted in by_name:
        return by_name[wanted]
    names = ", ".join(f"{i} ({layer.name})" for i, layer in enumerate(model.layers))
    try:
        index = int(wanted)
    except ValueError:
        raise InputError(f"no layer named {wanted!r}; the layers are {names}") from None
    if not 0 <= index < len(model.layers):
        raise InputError(f"no layer {index}; the layers are {names}")
    return model.layers[index]


# --- commands -------------------------------------------------------------------------------------------------------


def _compare(arguments: argparse.Namespace) -> int:
    from ssmreduce.plot import checked_format, plot, require_matplotlib

    if arguments.output is not None:
        folder = Path(arguments.output)
        if not folder.is_dir():
            raise _OutputError(f"the folder {folder} does not exist; make it first")
        for kind, suffix in (("json", "json"), ("plot", "png"), ("html", "html")):
            if getattr(arguments, kind) is None:
                setattr(arguments, kind, str(folder / f"compare.{suffix}"))
    for path in (arguments.json, arguments.plot, arguments.html):
        check_writable(path)
    if arguments.plot is not None:
        checked_format(arguments.plot)
        require_matplotlib()
    layer = _layer(_load(arguments), arguments.layer)

    from ssmreduce.comparison import compare
    from ssmreduce.progress import progress_bar

    with progress_bar(quiet=arguments.quiet) as progress:
        comparison = compare(
            layer,
            arguments.methods,
            arguments.orders,
            rtol=arguments.rtol,
            crosscheck=arguments.crosscheck,
            crosscheck_seconds=arguments.crosscheck_seconds,
            seed=arguments.seed,
            progress=progress,
        )
    comparison.provenance["command"] = "ssmreduce " + " ".join(sys.argv[1:])
    comparison.provenance["checkpoint"] = Path(arguments.checkpoint).name if arguments.checkpoint else "shipped model"
    if arguments.json == "-":
        sys.stdout.write(comparison.to_json())
    elif not arguments.quiet:
        _print_table(comparison)
    if arguments.json not in (None, "-"):
        _written(arguments.json, comparison.to_json().encode())
    if arguments.plot is not None:
        from ssmreduce.plot import image

        _written(arguments.plot, image(plot(comparison), checked_format(arguments.plot)))
    if arguments.html is not None:
        _written(arguments.html, comparison.to_html().encode())
    if not arguments.quiet:
        stream = sys.stderr if arguments.json == "-" else sys.stdout
        for what, path in (("figure", arguments.plot), ("report", arguments.html), ("numbers", arguments.json)):
            if path not in (None, "-"):
                print(f"{what + ':':<9}{path}", file=stream)
    return OK if not comparison.violations and any(row.delivered for row in comparison.rows) else UNCERTIFIED


def _print_table(comparison: Any) -> None:
    from rich.console import Console

    from ssmreduce.table import render, renderable

    if sys.stdout.isatty():
        console = Console(highlight=False)
        console.print(renderable(comparison, console.width))
    else:
        print(render(comparison))


def _inspect(arguments: argparse.Namespace) -> int:
    from ssmreduce.inspection import inspect_model

    check_writable(arguments.json)
    model = _load(arguments)
    found = inspect_model(model)
    if arguments.json == "-":
        sys.stdout.write(found.to_json())
    elif not arguments.quiet:
        print(found)
    if arguments.json not in (None, "-"):
        _written(arguments.json, found.to_json().encode())
    return OK


def _reduce(arguments: argparse.Namespace) -> int:
    raise InputError("not yet")
