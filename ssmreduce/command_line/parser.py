"""The command line: compare, inspect, reduce and convert trained checkpoints."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from ssmreduce import __version__
from ssmreduce.command_line.commands import run_compare, run_convert, run_inspect, run_reduce
from ssmreduce.command_line.exits import (
    INTERRUPTED,
    MISSING,
    UNCERTIFIED,
    UNEXPECTED,
    UNREADABLE,
    UNWRITABLE,
    USAGE,
)
from ssmreduce.command_line.outputs import OutputError, hold_descriptors, settle, warn
from ssmreduce.view.text import shown
from theory.errors import MissingDependencyError, SSMReduceError

DESCRIPTION = """\
Reduce the state dimension of trained state space layers (S5, S4D), and prove what the smaller layers get wrong."""

EXAMPLES = """\
examples:
  ssmreduce compare                                        the trained model that comes with the package
  ssmreduce compare model.safetensors --layer 2            one layer of yours, every method at eight orders
  ssmreduce compare model.safetensors --methods balanced,last --orders 8,16,32 --html report.html --json rows.json
  ssmreduce inspect model.safetensors                      what is in a checkpoint, and how many states each layer needs
  ssmreduce reduce model.safetensors --ratio 0.5 --output small.safetensors
  ssmreduce convert model.pth --output model.safetensors   the same layers in another container

exit status:
    0  done
    1  a bug in ssmreduce: please report it
    2  the command or its input makes no sense (unknown method, order too high, unstable layer, ...)
    3  the checkpoint cannot be read (missing, a directory, truncated, a pickle, ...)
    4  the result is not certified: a law is violated, or no method delivered
    5  an optional package is missing; the message names what to install
    6  an output cannot be written (a file, or the standard output); nothing is left half-written, and files are
       written before anything is printed. A reader that goes away early (| head) is no error
  130  interrupted; compare prints and writes the rows that were finished
"""

OPTION_HELP = "what the arrays of a checkpoint cannot tell; a JSON file beside it usually says"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    hold_descriptors()
    try:
        try:
            return _run(sys.argv[1:] if argv is None else argv)
        finally:
            settle()
    except OutputError as error:
        return _fail(error, UNWRITABLE)


def _run(argv: Sequence[str]) -> int:
    try:
        arguments = _parser().parse_args(argv)
        arguments.command_line = shlex.join(argv)
        status: int = arguments.run(arguments)
        return status
    except KeyboardInterrupt:
        return _fail("interrupted; nothing is left half-written", INTERRUPTED)
    except MissingDependencyError as error:
        return _fail(error, MISSING)
    except MemoryError:
        return _fail("out of memory", UNEXPECTED)
    except SSMReduceError as error:
        return _fail(error, _status_of(error))


def _status_of(error: SSMReduceError) -> int:
    from ssmreduce.files.errors import CheckpointError, CheckpointIOError

    if isinstance(error, (CheckpointError, CheckpointIOError)):
        return UNREADABLE
    if isinstance(error, ArithmeticError):
        return UNCERTIFIED
    return USAGE


def _fail(message: object, status: int) -> int:
    warn(f"ssmreduce: {shown(message)}")
    return status


# --- arguments ------------------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """Puts the names of methods and allocations into its help, and imports them only for that."""

    def format_help(self) -> str:
        texts = [action for action in self._actions if "{" in (action.help or "")]
        if texts:
            from ssmreduce.layers.formats import LAYER_FORMATS
            from ssmreduce.methods.allocation import ALLOCATIONS
            from ssmreduce.methods.registry import METHODS

            for action in texts:
                assert action.help is not None
                action.help = action.help.format(
                    methods=", ".join(METHODS), allocations=", ".join(ALLOCATIONS), forms=", ".join(LAYER_FORMATS)
                )
        return super().format_help()

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
    _add_convert(commands)
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
    group.add_argument("--discretization", choices=("zoh", "bilinear", "dirac"))
    group.add_argument("--step-rescale", type=float, metavar="X", help="factor on all step sizes")
    group.add_argument("--dt-transform", choices=("softplus", "exp"), help="how S4 version 4 stores its step sizes")
    group.add_argument(
        "--real-transform",
        choices=("exp", "softplus", "relu", "sigmoid", "none"),
        help="how the S4 code stores the real part of the eigenvalues (default exp, as in every published config)",
    )
    group.add_argument("--linoss", choices=("im", "imex"), help="how LinOSS without damping steps its oscillators")
    group.add_argument("--bidirectional", action=argparse.BooleanOptionalAction, help="compared with the arrays")
    group.add_argument(
        "--prefix",
        metavar="PATH",
        help="which part of the file is meant, where it holds the network several times (weights and their average)",
    )
    group.add_argument(
        "--axis",
        choices=("device", "layers"),
        help="what an axis in front of all arrays is: copies on devices (pmap), or layers (scan)",
    )
    group.add_argument(
        "--step", type=int, metavar="N", help="which step of a folder of Orbax's CheckpointManager; default: the newest"
    )
    group.add_argument(
        "--names", metavar="FILE", help="text file with the names of an .eqx file's leaves, one a line, in their order"
    )
    return parser


def _add_compare(commands: Any) -> None:
    text = "reduce one layer by every method at several orders, and certify each error"
    where = "[file with the trained parameters, recognised by its content; the shipped model when left out"
    parser = _add_command(commands, "compare", run_compare, text, where)
    parser.add_argument("--layer", metavar="L", help="number (from 0) or name of the layer; default: the first")
    parser.add_argument(
        "--methods",
        metavar="M,M",
        type=_names,
        help="names, separated by commas: {methods} (default: all that apply); parameters go in brackets, and the "
        "whole in quotes: 'balanced(condition_limit=1e12),last'",
    )
    parser.add_argument(
        "--orders", metavar="N,N", type=_orders, help="stored states to keep; default: up to eight orders"
    )
    parser.add_argument(
        "--all", action="store_true", help="print every row; by default the best method of each kind at each order"
    )
    parser.add_argument(
        "--rtol", type=float, default=1e-3, metavar="X", help="relative width of the error brackets (default 1e-3)"
    )
    parser.add_argument(
        "--crosscheck",
        choices=("auto", "all", "none"),
        default="auto",
        help="ask python-control for all rows, for as many as fit in the time (the default), or for none",
    )
    parser.add_argument(
        "--crosscheck-seconds", type=float, default=15.0, metavar="S", help="time for auto (default 15)"
    )
    parser.add_argument("--seed", type=_seed, metavar="N", default=0, help="for the method random (default 0)")
    parser.add_argument(
        "--json",
        metavar="FILE",
        help="write everything as JSON; for each of these files, - is the standard output, instead of the table",
    )
    parser.add_argument("--plot", metavar="FILE", help="write the figure (png, svg or pdf)")
    parser.add_argument("--html", metavar="FILE", help="write the report, one HTML file with everything in it")
    parser.add_argument(
        "--output", metavar="DIR", help="folder for compare.json, compare.png and compare.html, written together"
    )


def _add_inspect(commands: Any) -> None:
    text = "say what a checkpoint holds: layers, sizes, options, stability, and how many states each layer needs"
    parser = _add_command(commands, "inspect", run_inspect, text, "[checkpoint; the shipped model when left out")
    parser.add_argument(
        "--no-certify",
        dest="certify",
        action="store_false",
        help="count states by the a-priori bound instead of certified errors (at once, and more states)",
    )
    parser.add_argument(
        "--json", metavar="FILE", help="write it as JSON; - writes it to the output instead of the table"
    )


def _add_reduce(commands: Any) -> None:
    text = "write a smaller checkpoint that the original code can run"
    parser = _add_command(commands, "reduce", run_reduce, text, "file with the trained parameters")
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--ratio", type=float, metavar="X", help="part of all stored states to remove, between 0 and 1")
    size.add_argument(
        "--orders",
        "--order",
        metavar="N,N",
        type=_orders,
        help="stored states to keep: one number for every layer, or one for each",
    )
    parser.add_argument("--method", default="balanced", metavar="M", help="one of {methods} (default balanced)")
    parser.add_argument(
        "--allocation",
        metavar="A",
        help="how a --ratio is spread over the layers: one of {allocations} (default: the method's own)",
    )
    parser.add_argument("--seed", type=_seed, metavar="N", default=0, help="for the method random (default 0)")
    parser.add_argument(
        "-o", "--output", metavar="FILE", required=True, help="the checkpoint to write; - for the output"
    )
    parser.add_argument("--force", action="store_true", help="replace the output if it exists")
    parser.add_argument(
        "--pad", action="store_true", help="fill all layers up to one size with zero states (reference S5)"
    )
    parser.add_argument(
        "--no-certify",
        dest="certify",
        action="store_false",
        help="leave out the certified error of each layer (faster)",
    )
    parser.add_argument("--json", metavar="FILE", help="write what was done, layer by layer, as JSON; - for the output")


def _add_convert(commands: Any) -> None:
    text = "write a checkpoint in another container, or its layers as another code base stores them"
    parser = _add_command(commands, "convert", run_convert, text, "file with the trained parameters")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        required=True,
        help="the checkpoint to write, in the container of its suffix (.safetensors, .safetensors.index.json, .npz, "
        ".msgpack, .pth, .eqx, .orbax); - for the output",
    )
    parser.add_argument("--force", action="store_true", help="replace the output if it exists")
    parser.add_argument(
        "--form",
        metavar="F",
        help="store the layers as another code base does, one of {forms}; the outputs stay, or an error says why not",
    )
    parser.add_argument(
        "--unstack", action="store_true", help="write without the axis that --axis names: the layers apart, one copy"
    )


def _names(text: str) -> list[str]:
    from ssmreduce.methods.named import split_names

    return split_names(text)


def _seed(text: str) -> int:
    if not text.strip().isdecimal():
        raise argparse.ArgumentTypeError(f"a whole number from 0 on is needed, got {text!r}")
    return int(text)


def _orders(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise argparse.ArgumentTypeError(f"whole numbers separated by commas are needed, got {text!r}") from None
