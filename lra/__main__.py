"""The command line of `lra`: ``python -m lra train | evaluate | reduce | sweep | export | configs | data``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lra.errors import LRAError
from lra.parser import parser
from lra.sweep.command import run_sweep
from lra.tasks.commands import run_data
from theory.errors import SSMReduceError

# glibc returns the buffers of a step to the system after every step and asks for them again page by page;
# huge pages and a heap that is kept make a training step on a CPU 1.5 times faster or more.
CPU_ALLOCATOR = (
    "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967296:"
    "glibc.malloc.trim_threshold=17179869184:glibc.malloc.top_pad=268435456"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return 0, 1 when training diverged, 2 when the input was bad, 130 when interrupted."""
    arguments = parser().parse_args(argv)
    try:
        return COMMANDS[arguments.command](arguments)
    except (LRAError, SSMReduceError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1 if isinstance(error, ArithmeticError) else 2
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130


def _train(arguments: argparse.Namespace) -> int:
    from lra.config import load_config, parse_override
    from lra.devices import connect, is_leader
    from lra.train import train_and_evaluate

    connect(arguments.coordinator, arguments.processes, arguments.process)
    overrides: dict[str, Any] = dict(parse_override(text) for text in arguments.overrides)
    if arguments.data:
        overrides["data"] = str(Path(arguments.data).expanduser())
    config = load_config(arguments.config, overrides)
    outcome = train_and_evaluate(config, arguments.workdir, quiet=arguments.quiet, devices=arguments.devices)
    if not is_leader():
        return 0
    print(
        f"best epoch {outcome.best_epoch}: validation accuracy {outcome.validation['accuracy']:.4f}, "
        f"test accuracy {outcome.test['accuracy']:.4f}; files in {outcome.workdir}"
    )
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    from lra.config import parse_override
    from lra.evaluate import evaluate

    result = evaluate(
        arguments.checkpoint,
        data=arguments.data,
        split=arguments.split,
        batch_size=arguments.batch_size,
        options=dict(parse_override(text) for text in arguments.overrides),
    )
    if arguments.json:
        print(json.dumps(result))
    else:
        print(
            f"{result['task']}, {result['split']} split: accuracy {result['accuracy']:.4f}, loss {result['loss']:.4f} "
            f"on {result['examples']} examples; stored states by layer: {', '.join(map(str, result['states']))}"
        )
    return 0


def _reduce(arguments: argparse.Namespace) -> int:
    from lra.errors import ConfigError
    from lra.reduce import METHOD, Request, described, reduce_checkpoint
    from ssmreduce.progress import progress_bar
    from ssmreduce.recorded.recipe import Recipe

    if arguments.method != METHOD:
        return _reduce_layers(arguments)
    if arguments.allocation is not None:
        raise ConfigError("--allocation goes with a --method of layers: the whole recipe tries several by itself")
    layers_only = arguments.layers_only
    recipe = Recipe(
        refit=not arguments.no_refit,
        norms=not (arguments.no_norms or layers_only),
        decoder=not (arguments.no_decoder or layers_only),
        polish=arguments.polish,
        together=arguments.together,
        seed=arguments.seed,
    )
    sizes = {name: getattr(arguments, name) for name in ("ratio", "budget", "max_change")}
    request = Request(
        **sizes, examples=arguments.examples, decoder_examples=arguments.decoder_examples, recipe=recipe
    )
    with progress_bar(quiet=arguments.quiet) as report:
        outcome, record = reduce_checkpoint(
            arguments.checkpoint, arguments.output, request, data=arguments.data, clip_eigs=arguments.clip_eigs,
            report=report,
        )
    print(described(outcome, record))
    print(f"wrote {arguments.output}")
    if outcome.interrupted:
        print("stopped early: this is the best so far; the same command goes on from there", file=sys.stderr)
        return 130
    return 0


def _reduce_layers(arguments: argparse.Namespace) -> int:
    """A method of single layers, under an allocation."""
    from lra.errors import ConfigError
    from lra.reduce_layers import reduce_layers
    from ssmreduce.progress import progress_bar

    if arguments.max_change is not None:
        raise ConfigError("--max-change goes with --method recorded: other methods do not look at predictions")
    names = ("ratio", "budget", "allocation", "data", "examples", "seed", "clip_eigs")
    with progress_bar(quiet=arguments.quiet) as report:
        smaller = reduce_layers(
            arguments.checkpoint, arguments.output, arguments.method, report=report,
            **{name: getattr(arguments, name) for name in names},
        )  # fmt: skip
    record = smaller.training["reduction"]
    print(
        f"wrote {arguments.output}: {record['method']}, allocation {record['allocation']}, states by layer "
        f"{', '.join(map(str, record['orders']))}"
    )
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from lra.evaluate import export

    training = export(arguments.workdir, arguments.output)["training"]
    print(f"wrote {arguments.output} and {arguments.output.with_suffix('.json').name}")
    if not training["finished"]:
        print("note: the run is not finished; these are its best parameters so far, the test set was not looked at")
    for layer, states in training["unstable_poles"].items():
        print(f"note: {layer} has unstable poles, states {states}")
    return 0


def _configs(arguments: argparse.Namespace) -> int:
    del arguments
    import importlib

    from lra.config import config_names

    for name in config_names():
        first = (importlib.import_module(f"lra.configs.{name}").__doc__ or "").strip().splitlines()
        print(f"{name:20s} {first[0] if first else ''}")
    return 0


COMMANDS = {
    "train": _train,
    "evaluate": _evaluate,
    "reduce": _reduce,
    "sweep": run_sweep,
    "export": _export,
    "configs": _configs,
    "data": run_data,
}


def _restart_with_huge_pages() -> None:
    """On Linux start this very command again with `CPU_ALLOCATOR` (read by glibc at start-up only)."""
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ and sys.argv[1:2] == ["train"]:
        os.execve(sys.executable, sys.orig_argv, {**os.environ, "GLIBC_TUNABLES": CPU_ALLOCATOR})


if __name__ == "__main__":
    _restart_with_huge_pages()
    sys.exit(main())
