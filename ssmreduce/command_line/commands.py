"""What the commands of the command line do."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ssmreduce.command_line.exits import INTERRUPTED, OK, UNCERTIFIED
from ssmreduce.command_line.outputs import STANDARD, OutputError, check_outputs, deliver, say, show, warn
from theory.errors import InputError

TRAINING_FACTS = ("task", "seed", "epochs", "test_accuracy")
"""What of the record of a checkpoint goes into a report."""


def load_model(arguments: argparse.Namespace) -> Any:
    """Read the checkpoint that was named, or the shipped one."""
    from ssmreduce.files.loading import load
    from ssmreduce.files.shipped import shipped_checkpoint
    from ssmreduce.layers.options import LAYER_OPTIONS

    options = {key: getattr(arguments, key) for key in (*LAYER_OPTIONS, "prefix", "axis", "step", "names")}
    if arguments.checkpoint == "":
        raise InputError("the name of the checkpoint is empty; leave it out for the shipped model")
    path = shipped_checkpoint() if arguments.checkpoint is None else arguments.checkpoint
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
    from ssmreduce.view.canvas import checked_format, require_matplotlib

    paths = {name: getattr(arguments, name) for name in ("json", "plot", "html")}
    if arguments.output is not None:
        folder = Path(arguments.output or "?")
        if not folder.is_dir():
            raise OutputError(f"the folder {arguments.output!r} does not exist; make it first")
        for name, suffix in (("json", "json"), ("plot", "png"), ("html", "html")):
            paths[name] = paths[name] if paths[name] is not None else str(folder / f"compare.{suffix}")
    check_outputs({f"--{name}": path for name, path in paths.items()})
    figure = ""
    if paths["plot"] is not None:
        figure = "png" if paths["plot"] == STANDARD else checked_format(paths["plot"])
        require_matplotlib()
    model = load_model(arguments)
    comparison, status = _compared(model, _layer(model, arguments.layer), arguments)
    contents: list[tuple[str | None, bytes]] = []
    if paths["json"] is not None:
        contents.append((paths["json"], comparison.to_json().encode()))
    if paths["plot"] is not None:
        from ssmreduce.view.canvas import image
        from ssmreduce.view.plot import plot

        contents.append((paths["plot"], image(plot(comparison), figure)))
    if paths["html"] is not None:
        contents.append((paths["html"], comparison.to_html().encode()))
    deliver(contents)
    if STANDARD not in paths.values():
        from ssmreduce.view.pages import comparison_sheet

        kinds = (("figure", paths["plot"]), ("report", paths["html"]), ("numbers", paths["json"]))
        written = [f"{what + ':':<9}{path}" for what, path in kinds if path is not None]
        sheet = comparison_sheet(comparison, written, every=arguments.all, how="--all")
        show(sheet, quiet=arguments.quiet)
    return status


def _compared(model: Any, layer: Any, arguments: argparse.Namespace) -> tuple[Any, int]:
    """The comparison and the exit status; of an interrupted one, the rows that are finished."""
    from dataclasses import replace

    from ssmreduce.comparison.compare import compare
    from ssmreduce.comparison.comparison import ComparisonInterrupted
    from ssmreduce.files.record import one_line
    from ssmreduce.progress import progress_bar

    interrupted = False
    try:
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
    except ComparisonInterrupted as stopped:
        comparison, interrupted = stopped.finished, True
        warn(f"ssmreduce: interrupted; {stopped}")
    facts = {
        "command": f"ssmreduce {arguments.command_line}",
        "checkpoint": "shipped model" if arguments.checkpoint is None else Path(arguments.checkpoint).name,
    }
    record = one_line(model.training, TRAINING_FACTS)
    if record:
        facts["training"] = record
    comparison = replace(comparison, provenance=comparison.provenance | facts)
    certified = not comparison.violations and any(row.delivered for row in comparison.rows)
    return comparison, INTERRUPTED if interrupted else OK if certified else UNCERTIFIED


def run_inspect(arguments: argparse.Namespace) -> int:
    """``ssmreduce inspect``."""
    from ssmreduce.inspection import inspect_model
    from ssmreduce.progress import progress_bar

    check_outputs({"--json": arguments.json})
    model = load_model(arguments)
    with progress_bar(quiet=arguments.quiet) as progress:
        found = inspect_model(model, certify=arguments.certify, progress=progress)
    deliver([(arguments.json, found.to_json().encode())])
    show(found.sheet(), quiet=arguments.quiet or arguments.json == STANDARD)
    return OK


def run_reduce(arguments: argparse.Namespace) -> int:
    """``ssmreduce reduce``."""
    from ssmreduce.progress import progress_bar
    from ssmreduce.reduced_model import reduce_model
    from ssmreduce.view.model_pages import reduction_sheet

    if arguments.orders is not None and arguments.allocation is not None:
        raise InputError("--allocation spreads a --ratio over the layers; --orders say what each layer keeps")
    check_outputs({"--output": arguments.output, "--json": arguments.json})
    model = load_model(arguments)
    target = _target(model, arguments)
    arguments.total = len(model.layers)
    with progress_bar(quiet=arguments.quiet) as progress:
        reduced = reduce_model(
            model,
            arguments.ratio,
            arguments.method,
            arguments.allocation,
            orders=arguments.orders[0] if arguments.orders and len(arguments.orders) == 1 else arguments.orders,
            seed=arguments.seed,
            progress=progress,
        )
        smaller = reduced.padded() if arguments.pad else reduced
        _ = smaller.written  # unlike sizes in one stack are refused before errors are certified
        rows = [
            _reduced_layer(i, old, new, arguments, progress)
            for i, (old, new) in enumerate(zip(model.layers, reduced.layers))
        ]
    written = _saved(smaller, target)
    result = {
        "format": "ssmreduce-reduction",
        "version": 1,
        "output": "the standard output" if target == STANDARD else target,
        "method": smaller.training["reduction"]["method"],
        "allocation": smaller.training["reduction"]["allocation"],
        "states_before": model.n_states,
        "states": smaller.n_states,
        "left_out": model.left_out,
        "moments": list(model.moments),
        "layers": rows,
    }
    text = json.dumps(result, indent=1, allow_nan=False) + "\n"
    deliver([(arguments.json, text.encode()), (STANDARD if written else None, written)])
    show(reduction_sheet(result), quiet=arguments.quiet or STANDARD in (target, arguments.json))
    return OK


def run_convert(arguments: argparse.Namespace) -> int:
    """``ssmreduce convert``."""
    check_outputs({"--output": arguments.output})
    model = load_model(arguments)
    model = model.taken_apart() if arguments.unstack else model
    model = model if arguments.form is None else model.in_form(arguments.form)
    target = _target(model, arguments)
    written = _saved(model, target)
    deliver([(STANDARD if written else None, written)])
    if not arguments.quiet and target != STANDARD:
        say(f"{target}: {model}\n")
        say(f"left out: {model.left_out}; it is not read\n" if model.left_out else "")
    return OK


def _target(model: Any, arguments: argparse.Namespace) -> str:
    """The file to write, with the suffix of the format that came in if none was given; all that it takes is checked."""
    from ssmreduce.files.saving import files_of
    from ssmreduce.files.writing import is_stream

    output, as_json = arguments.output, getattr(arguments, "json", None)
    if output == STANDARD:
        check_outputs({"--output": output, "--json": as_json})
        return STANDARD
    if Path(output).is_dir() or not Path(output).name:
        raise OutputError(f"{output} is a directory; name a file in it")
    if is_stream(Path(output)):
        raise OutputError(f"{output} is a device or a pipe; name a file, or {STANDARD} for the standard output")
    target, half, *others = map(str, files_of(model, output))
    check_outputs({"--output": target}, force=arguments.force)
    parts = {"the JSON half of --output": half, **{f"part {i} of --output": part for i, part in enumerate(others, 1)}}
    check_outputs({"--output": target, **parts, "--json": as_json})
    check_outputs(parts, force=arguments.force)
    return target


def _saved(model: Any, target: str) -> bytes:
    """Write the model; or return what goes to the standard output, which is the arrays alone."""
    from ssmreduce.files.errors import CheckpointIOError
    from ssmreduce.files.saving import content

    if target == STANDARD:
        return content(model)
    try:
        model.save(target)
    except CheckpointIOError as error:
        raise OutputError(str(error)) from None
    return b""


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
