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
from lra.sweep.command import add_sweep_command, run_sweep
from lra.tasks.commands import add_data_commands, run_data
from theory.errors import SSMReduceError

EPILOG = """\
examples:
  python -m lra train digits --workdir runs/digits           about 20 seconds, needs no data
  python -m lra train smnist --workdir runs/smnist --data ~/data/mnist
  python -m lra train smnist --workdir runs/short --set epochs=1 --set seed=7
  python -m lra export runs/digits digits_s5.safetensors     what `ssmreduce compare` and `reduce` read
  python -m lra evaluate digits_s5.safetensors               whole models and reduced ones
  python -m lra reduce digits_s5.safetensors --ratio 0.75 -o quarter.safetensors
  python -m lra sweep digits_s5.safetensors --ratios 0.1:0.9:0.1 --methods balanced,last,magnitude -o sweeps/digits

A run that was stopped, however hard, goes on when the same command is given again.
"""

# glibc returns the buffers of a step to the system after every step and asks for them again page by page;
# huge pages and a heap that is kept make a training step on a CPU 1.5 times faster or more.
CPU_ALLOCATOR = (
    "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967296:"
    "glibc.malloc.trim_threshold=17179869184:glibc.malloc.top_pad=268435456"
)


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    top = argparse.ArgumentParser(
        prog="python -m lra",
        description="Train deep state space models on sequence tasks, measure them, and export them for ssmreduce.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train a model, or go on with a stopped run")
    train.add_argument("config", metavar="CONFIG", help="name of a file in lra/configs (see the command `configs`)")
    train.add_argument(
        "--workdir", required=True, type=Path, help="folder for checkpoints, metrics.jsonl and result.json"
    )
    train.add_argument("--data", help="folder (or file) of the task's data; default: $LRA_DATA")
    train.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="change one value of the config; may be repeated",
    )
    train.add_argument("--quiet", action="store_true", help="print the result only")
    several = train.add_argument_group(
        "several devices",
        "All devices of this machine share each batch. To use several machines, start the command on each of them, "
        "with the same --workdir on a common disk.",
    )
    several.add_argument("--devices", type=int, metavar="N", help="use N devices of each process, not all")
    several.add_argument(
        "--coordinator",
        default=os.environ.get("JAX_COORDINATOR_ADDRESS"),
        metavar="HOST:PORT",
        help="address of process 0, or `auto` under Slurm, Open MPI, ...; default: $JAX_COORDINATOR_ADDRESS",
    )
    several.add_argument(
        "--processes",
        type=int,
        default=os.environ.get("JAX_NUM_PROCESSES"),
        metavar="N",
        help="how many processes there are; default: $JAX_NUM_PROCESSES",
    )
    several.add_argument(
        "--process",
        type=int,
        default=os.environ.get("JAX_PROCESS_ID"),
        metavar="I",
        help="which one this is, from 0; default: $JAX_PROCESS_ID",
    )

    evaluate = commands.add_parser("evaluate", help="accuracy of an exported model, whole or reduced")
    evaluate.add_argument("checkpoint", metavar="CHECKPOINT", type=Path, help="NAME.safetensors, NAME.json beside it")
    evaluate.add_argument("--data", help="folder (or file) of the task's data; default: $LRA_DATA")
    evaluate.add_argument("--split", default="test", choices=("test", "validation", "train"))
    evaluate.add_argument("--batch-size", type=int, default=100)
    evaluate.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="change an option of the checkpoint, for example step_rescale=2 for sound at half the rate",
    )
    evaluate.add_argument("--json", action="store_true", help="print JSON")

    reduce = commands.add_parser(
        "reduce",
        help="a whole model with fewer states, from recorded inputs of the training split (no labels)",
        description="Reduce a whole model from what it sees: recorded, unlabelled inputs of the training split. Every "
        "stage is kept only if it brings the logits on held-out examples closer to the whole model's.",
    )
    reduce.add_argument("checkpoint", metavar="CHECKPOINT", type=Path, help="NAME.safetensors, NAME.json beside it")
    reduce.add_argument("--data", help="folder (or file) of the task's data; default: $LRA_DATA")
    size = reduce.add_mutually_exclusive_group(required=True)
    size.add_argument("--ratio", type=float, metavar="R", help="fraction of the stored states to remove")
    size.add_argument("--budget", type=int, metavar="N", help="stored states to keep")
    size.add_argument(
        "--max-change", type=float, metavar="X", help="the fewest states that change this part of predictions at most"
    )
    reduce.add_argument(
        "--method", default="recorded", help="`recorded`, the whole recipe (default), or a method of ssmreduce.METHODS"
    )
    reduce.add_argument(
        "--allocation", metavar="A",
        help="with another --method: how its states are divided over the layers; `measured` by what the network makes "
        "of it (default where --data is named), else the method's own",
    )  # fmt: skip
    reduce.add_argument("--examples", type=int, metavar="N",
                        help="half are fitted, half judge (400; of sequences under 784 samples more, up to 1600)")
    reduce.add_argument("--decoder-examples", type=int, default=1000, metavar="N",
                        help="further ones for norms, decoder and `--together` of the chosen model (1000)")
    reduce.add_argument("--seed", type=int, default=0, help="of the choice of examples")
    reduce.add_argument("--clip-eigs", action="store_true",
                        help="hold unstable poles inside the circle, as S5's clip_eigs does; what that changes is told")
    told = "Gauss-Newton steps on C and D of all layers at once (3)"
    reduce.add_argument("--together", type=int, default=3, metavar="N", help=told)
    reduce.add_argument("--polish", type=int, default=8, metavar="N", help="Gauss-Newton steps on poles and B (8)")
    reduce.add_argument("--no-refit", action="store_true", help="leave C and D as truncation gives them")
    reduce.add_argument("--no-norms", action="store_true", help="leave the statistics of the batch norms alone")
    reduce.add_argument("--no-decoder", action="store_true", help="leave the decoder alone")
    reduce.add_argument("--layers-only", action="store_true", help="change nothing but the layers")
    reduce.add_argument("--quiet", action="store_true", help="no progress")
    reduce.add_argument(
        "-o", "--output", required=True, type=Path, metavar="OUT", help="NAME.safetensors and NAME.json"
    )

    add_sweep_command(
        commands.add_parser("sweep", help="every method x allocation x ratio on one model: a table and a figure")
    )

    export = commands.add_parser("export", help="write a run's best model for ssmreduce")
    export.add_argument("workdir", metavar="WORKDIR", type=Path, help="the --workdir of a training run")
    export.add_argument("output", metavar="OUTPUT", type=Path, help="NAME.safetensors; NAME.json is written beside it")

    commands.add_parser("configs", help="list the configs")
    add_data_commands(commands.add_parser("data", help="generate, convert and check data sets"))
    return top


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
