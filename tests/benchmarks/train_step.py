"""Time our training and inference steps beside a step as the reference S5 takes it: same shapes, precision, run.

    python tests/benchmarks/train_step.py [--quick] [--only listops text ...] [--json out/train_step.json]

Each variant is compiled in a process of its own; then all take one step in turn, again and again, so that whatever
else the machine does hits them alike. Ratios are medians over the turns: of processor time on a CPU, of wall time on
an accelerator. Nothing is asserted: speed is not a test. Without --quick the sizes are the published ones, which want
an accelerator; --batch, --length and --layers set others.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from run import machine  # noqa: E402

from lra.__main__ import CPU_ALLOCATOR  # noqa: E402

LENGTHS: dict[str, int] = {  # name of a file in lra/configs: published length
    "listops": 2048,
    "text": 4096,
    "speech35": 16000,
    "smnist": 784,
    "speech35_s4d": 16000,
    "listops_s4d": 2048,
    "image": 1024,
    "pathfinder": 1024,
    "image_s4d": 1024,
}
SCANS = ("sequential", "associative", "chunked")
ENVIRONMENT = {
    "GLIBC_TUNABLES": CPU_ALLOCATOR,  # for all variants, as `python -m lra train` sets it for itself
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # several processes share an accelerator
}
QUICK = {"batch": 4, "length": 1024, "layers": 2}


@dataclasses.dataclass
class Worker:
    """A process that holds one compiled step; `facts` is what it said of itself, `turns` the seconds of its steps."""

    job: dict[str, Any]
    process: subprocess.Popen[str]
    facts: dict[str, Any]
    turns: list[dict[str, float]]

    def ask(self, line: str) -> dict[str, Any]:
        """Send a line and return the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline() or "null")
        return answer

    def seconds(self, clock: str) -> list[float]:
        return [turn[clock] for turn in self.turns]


@contextlib.contextmanager
def started(job: dict[str, Any]) -> Iterator[Worker]:
    """A worker that is ready to run."""
    command = [sys.executable, str(HERE / "step_worker.py"), json.dumps(job)]
    environment = {**ENVIRONMENT, **os.environ}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            facts = json.loads(process.stdout.readline() or "null")
            if facts is None:
                raise RuntimeError(f"{job} failed; its error is above")
            yield Worker(job, process, facts, [])
        finally:
            process.kill()


def jobs(name: str, options: argparse.Namespace) -> list[list[dict[str, Any]]]:
    """The groups of a config that are compared: training, then inference."""
    from lra.config import load_config

    config = load_config(name)
    size = {
        "config": name,
        "batch": options.batch or config.batch_size,
        "length": min(options.length or LENGTHS[name], LENGTHS[name]),
        "layers": min(options.layers or config.n_layers, config.n_layers),
    }
    s5 = config.model == "s5"
    training = ["reference", *SCANS] if s5 else ["auto"]
    inference = ["reference", "auto", "half the states"] if s5 else ["auto", "half the states"]
    groups = {"training": training, "inference": inference}
    return [[{"kind": kind, "variant": variant, **size} for variant in groups[kind]] for kind in options.kinds]


def measured(group: list[dict[str, Any]], repeats: int, console: Console) -> list[dict[str, Any]]:
    """One row a variant; ratios are to the first of the group."""
    with contextlib.ExitStack() as stack:
        workers = []
        for job in group:
            console.print(f"compiling {job['config']}, {job['kind']}, {job['variant']}", highlight=False)
            workers.append(stack.enter_context(started(job)))
        for _ in range(repeats):
            for worker in workers:
                worker.turns.append(worker.ask("step"))
        for worker in workers:
            worker.facts |= worker.ask("")
    clock = "cpu" if workers[0].facts["platform"] == "cpu" else "wall"
    rows = []
    for worker in workers:
        job, mine, base = worker.job, worker.seconds(clock), workers[0].seconds(clock)
        row = {**job, "clock": clock, **worker.facts, "turns": worker.turns}
        row["seconds"] = statistics.median(mine)
        row["tokens_per_second"] = job["batch"] * job["length"] / row["seconds"]
        row["ratio"] = statistics.median(theirs / ours for theirs, ours in zip(base, mine, strict=True))
        row["compared_with"] = workers[0].job["variant"]
        if job["variant"] == "half the states":
            whole = next(worker for worker in workers if worker.job["variant"] == "auto")
            row["ratio_to_whole"] = statistics.median(a / b for a, b in zip(whole.seconds(clock), mine, strict=True))
        rows.append(row)
    return rows


def show(record: dict[str, Any], console: Console) -> None:
    """Print the table of a run."""
    first = record["rows"][0]
    table = Table(
        title=f"{first['device']} ({record['machine']['processor']}), {record['date']}, {first['clock']} time"
    )
    for column in ("config", "step", "variant", "batch x L, layers", "s", "tokens/s", "ratio", "compile s", "temp MiB"):
        table.add_column(column, justify="left" if column in ("config", "step", "variant") else "right")
    for row in record["rows"]:
        size = f"{row['batch']} x {row['length']}, {row['layers']}"
        numbers = (f"{row['seconds']:.3f}", f"{row['tokens_per_second']:,.0f}", f"{row['ratio']:.2f}")
        spent = (f"{row['compile_cpu']:.1f}", f"{row['temporary_mib']:.0f}")
        table.add_row(row["config"], row["kind"], row["variant"], size, *numbers, *spent)
    console.print(table)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the chosen shapes, print the table, write JSON (after every group: a run can be stopped)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"small sizes for a CPU: {QUICK}")
    parser.add_argument("--only", nargs="+", choices=list(LENGTHS), default=list(LENGTHS))
    parser.add_argument("--kinds", nargs="+", choices=["training", "inference"], default=["training", "inference"])
    parser.add_argument("--batch", type=int)
    parser.add_argument("--length", type=int, help="at most")
    parser.add_argument("--layers", type=int, help="at most")
    parser.add_argument("--repeats", type=int, default=5, help="turns of all variants")
    parser.add_argument("--json", type=Path, default=Path("out/train_step.json"))
    options = parser.parse_args(arguments)
    for name, value in QUICK.items():
        if options.quick and getattr(options, name) is None:
            setattr(options, name, value)
    console = Console(width=None if sys.stdout.isatty() else 160)
    record: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python tests/benchmarks/train_step.py", *(arguments or sys.argv[1:])]),
        "clock": "seconds are medians of processor time (all threads of the process) on a CPU, of wall time elsewhere; "
        "variants take turns; ratio = median over the turns of the first variant's time by this one's",
        "precision": "float32",
        "dropout": 0.0,
        "environment": {
            name: value
            for name, value in {**ENVIRONMENT, **os.environ}.items()
            if name in (*ENVIRONMENT, "XLA_FLAGS", "OMP_NUM_THREADS", "JAX_PLATFORMS")
        },
        "machine": machine(),
        "load": [os.getloadavg()],
        "rows": [],
    }
    for name in options.only:
        for group in jobs(name, options):
            record["rows"] += measured(group, options.repeats, console)
            record["load"].append(os.getloadavg())
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps(record, indent=1))
    show(record, console)
    console.print(f"wrote {options.json}")
    return record


if __name__ == "__main__":
    main()
