"""What the command line of `lra` understands: its commands and their options."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from lra.sweep.command import add_sweep_command
from lra.tasks.commands import add_data_commands

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
    reduce.add_argument("--decoder-examples", type=int, metavar="N",
                        help="further ones for norms, decoder and `--together` of the chosen model (1000; of "
                             "sequences under 4000 samples more, up to 4000)")
    reduce.add_argument("--seed", type=int, default=0, help="of the choice of examples")
    reduce.add_argument("--clip-eigs", action="store_true",
                        help="hold unstable poles inside the circle, as S5's clip_eigs does; what that changes is told")
    told = "Gauss-Newton steps on all layers at once, at most (5)"
    reduce.add_argument("--together", type=int, default=5, metavar="N", help=told)
    told = "Gauss-Newton steps on poles and B (8); 0: both stay as they were cut"
    reduce.add_argument("--polish", type=int, default=8, metavar="N", help=told)
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
