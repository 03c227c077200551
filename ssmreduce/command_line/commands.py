"""What the commands of the command line do."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from ssmreduce.command_line.exits import OK, UNCERTIFIED
from theory.errors import InputError

TRAINING_FACTS = ("task", "seed", "epochs", "test_accuracy")
"""What of the record of a checkpoint goes into a report."""


class OutputError(Exception):
    """An output cannot be written."""


# --- files ----------------------------------------------------------------------------------------------------------


def check_writable(path: str | None, *, force: bool = True) -> None:
    """Refuse an output that could not be written, before hours of work and not after."""
    if path is None or path == "-":
        return
    target = Path(path)
    folder = target.parent
    if target.is_dir():
        raise OutputError(f"{target} is a directory; name a file in it")
    if not folder.is_dir():
        raise OutputError(f"{target}: the folder {folder} does not exist; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{target}: the folder {folder} is not writable")
    if target.exists() and not force:
        raise OutputError(f"{target} exists; --force replaces it")


def write_output(path: str, content: bytes) -> None:
    """Write an output, whole or not at all."""
    from ssmreduce.files.storage import CheckpointIOError, write_files

    try:
        write_files({Path(path): content})
    except CheckpointIOError as error:
        raise OutputError(str(error)) from None


def load_model(arguments: argparse.Namespace) -> Any:
    """Read the checkpoint that was named, or the shipped one."""
    from ssmreduce.files.model import load
    from ssmreduce.files.shipped import shipped_checkpoint

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


def run_compare(arguments: argparse.Namespace) -> int:
    """``ssmreduce compare``."""
    from ssmreduce.view.pages import comparison_sheet
    from ssmreduce.view.plot import checked_format, plot, require_matplotlib

    if arguments.output is not None:
        folder = Path(arguments.output)
        if not folder.is_dir():
            raise OutputError(f"the folder {folder} does not exist; make it first")
        for kind, suffix in (("json", "json"), ("plot", "png"), ("html", "html")):
            if getattr(arguments, kind) is None:
                setattr(arguments, kind, str(folder / f"compare.{suffix}"))
    for path in (arguments.json, arguments.plot, arguments.html):
        check_writable(path)
    if arguments.plot is not None:
        checked_format(arguments.plot)
        require_matplotlib()
    model = load_model(arguments)
    layer = _layer(model, arguments.layer)

    from ssmreduce.comparison.compare import compare
    from ssmreduce.files.record import one_line
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
    comparison.provenance["command"] = f"ssmreduce {arguments.command_line}"
    comparison.provenance["checkpoint"] = Path(arguments.checkpoint).name if arguments.checkpoint else "shipped model"
    record = one_line(model.training, TRAINING_FACTS)
    if record:
        comparison.provenance["training"] = record
    if arguments.json == "-":
        sys.stdout.write(comparison.to_json())
    elif not arguments.quiet:
        _print_sheet(comparison_sheet(comparison))
    if arguments.json not in (None, "-"):
        write_output(arguments.json, comparison.to_json().encode())
    if arguments.plot is not None:
        from ssmreduce.view.plot import image

        write_output(arguments.plot, image(plot(comparison), checked_format(arguments.plot)))
    if arguments.html is not None:
        write_output(arguments.html, comparison.to_html().encode())
    if not arguments.quiet:
        stream = sys.stderr if arguments.json == "-" else sys.stdout
        for what, path in (("figure", arguments.plot), ("report", arguments.html), ("numbers", arguments.json)):
            if path not in (None, "-"):
                print(f"{what + ':':<9}{path}", file=stream)
    return OK if not comparison.violations and any(row.delivered for row in comparison.rows) else UNCERTIFIED


def _print_sheet(sheet: Any) -> None:
    from ssmreduce.view.table import printed

    if sys.stdout.isatty():
        print(printed(sheet, shutil.get_terminal_size().columns, colour=True))
    else:
        print(printed(sheet))


def run_inspect(arguments: argparse.Namespace) -> int:
    """``ssmreduce inspect``."""
    from ssmreduce.inspection import inspect_model

    check_writable(arguments.json)
    model = load_model(arguments)
    found = inspect_model(model)
    if arguments.json == "-":
        sys.stdout.write(found.to_json())
    elif not arguments.quiet:
        _print_sheet(found.sheet())
    if arguments.json not in (None, "-"):
        write_output(arguments.json, found.to_json().encode())
    return OK


def run_reduce(arguments: argparse.Namespace) -> int:
    """``ssmreduce reduce``."""
    from ssmreduce.files.model import SUFFIXES
    from ssmreduce.files.storage import CheckpointIOError
    from ssmreduce.progress import progress_bar
    from ssmreduce.reduced_model import reduce_model
    from ssmreduce.view.pages import reduction_sheet

    if arguments.orders is not None and arguments.allocation is not None:
        raise InputError("--allocation spreads a --ratio over the layers; --orders say what each layer keeps")
    model = load_model(arguments)
    target = Path(arguments.output)
    if target.suffix not in SUFFIXES:
        target = target.with_name(f"{target.name}.{model.format}")
    check_writable(str(target), force=arguments.force)
    if target.suffix == ".safetensors":
        check_writable(str(target.with_suffix(".json")), force=arguments.force)
    check_writable(arguments.json)
    arguments.total = len(model.layers)
    with progress_bar(quiet=arguments.quiet) as progress:
        smaller = reduce_model(
            model,
            arguments.ratio,
            arguments.method,
            arguments.allocation,
            orders=arguments.orders[0] if arguments.orders and len(arguments.orders) == 1 else arguments.orders,
            seed=arguments.seed,
            progress=progress,
        )
        rows = [
            _reduced_layer(i, old, new, arguments, progress)
            for i, (old, new) in enumerate(zip(model.layers, smaller.layers))
        ]
    smaller = smaller.padded() if arguments.pad else smaller
    try:
        written = smaller.save(target)
    except CheckpointIOError as error:
        raise OutputError(str(error)) from None
    result = {
        "format": "ssmreduce-reduction",
        "version": 1,
        "output": str(written),
        "method": smaller.training["reduction"]["method"],
        "allocation": smaller.training["reduction"]["allocation"],
        "states_before": model.n_states,
        "states": smaller.n_states,
        "layers": rows,
    }
    text = json.dumps(result, indent=1, allow_nan=False) + "\n"
    if arguments.json == "-":
        sys.stdout.write(text)
    elif not arguments.quiet:
        _print_sheet(reduction_sheet(result))
    if arguments.json not in (None, "-"):
        write_output(arguments.json, text.encode())
    return OK


def _reduced_layer(index: int, old: Any, new: Any, arguments: argparse.Namespace, progress: Any) -> dict[str, Any]:
    """States before and after, and the certified error, of one layer."""
    row: dict[str, Any] = {"layer": index, "name": old.name, "states_before": old.order, "states": new.order}
    if arguments.certify:
        from ssmreduce.results import bracket_to_dict, worst
        from theory.norms import error_norm, hinf_norm

        progress(index, arguments.total, f"certifying layer {index}")
        error, norm = worst(error_norm(old.system, new.system, 1e-3)), worst(hinf_norm(old.system, 1e-3))
        row |= {"error": bracket_to_dict(error), "norm": bracket_to_dict(norm)}
    return row
