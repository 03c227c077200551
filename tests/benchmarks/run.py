"""Measure ssmreduce beside other packages, on the same systems, in one run.

    python tests/benchmarks/run.py [--quick] [--json out/benchmarks.json] [--only s4d s5 ...]

Ratios are given twice: of wall time, which suffers from whatever else runs, and of processor time, which does so less.
Nothing is asserted: speed is not a test. BLAS runs on one thread unless OMP_NUM_THREADS says otherwise.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, os.environ.get("OMP_NUM_THREADS", "1"))
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1]), str(HERE.parent)]

from cases import CASES, Row  # noqa: E402
from measuring import exponent  # noqa: E402
from packages import installed  # noqa: E402
from plots import draw  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402


def machine() -> dict[str, Any]:
    """Processor, cores, memory, system, Python and package versions, BLAS threads."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": installed(),
        "blas_threads": os.environ["OMP_NUM_THREADS"],
    }


def as_record(rows: list[Row]) -> list[dict[str, Any]]:
    """Rows for JSON, each peer with its ratios to ours in the same case and size."""
    ours = {(row.case, row.size): row.measurement for row in rows if row.package == "ssmreduce"}
    record = []
    for row in rows:
        base = ours.get((row.case, row.size))
        entry = {"case": row.case, "system": row.system, "package": row.package, "size": row.size, "note": row.note}
        entry |= row.measurement.to_dict()
        for clock in ("wall", "cpu"):
            mine, theirs = getattr(base, clock, None), getattr(row.measurement, clock)
            entry[f"ratio_{clock}"] = theirs / mine if mine and theirs else None
        record.append(entry)
    return record


def growth_of(rows: list[Row]) -> list[dict[str, Any]]:
    """Sizes, times and fitted exponent of every series."""
    series = []
    for case in dict.fromkeys(row.case for row in rows if "growth" in row.case):
        points = [(row.size, row.measurement) for row in rows if row.case == case and row.measurement.cpu]
        sizes, cpu = [float(size) for size, _ in points], [float(m.cpu or 0.0) for _, m in points]
        memory = [m.memory for _, m in points]
        series.append({"case": case, "sizes": sizes, "cpu": cpu, "memory": memory, "exponent": exponent(sizes, cpu)})
    return series


def show(record: dict[str, Any], console: Console) -> None:
    """Print the table of a run."""
    table = Table(title=f"{record['machine']['processor']}, {record['date']}, seed {record['seed']}")
    for name in ("case", "package", "size", "wall (s)", "processor (s)", "MiB", "ratio wall", "ratio cpu", "note"):
        table.add_column(name, justify="left" if name in ("case", "package", "note") else "right")

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.3g}"

    for row in record["rows"]:
        cells = [number(row[key]) for key in ("wall", "cpu", "memory", "ratio_wall", "ratio_cpu")]
        table.add_row(row["case"], row["package"], str(row["size"]), *cells, row["failure"] or row["note"])
    console.print(table)
    for series in record["growth"]:
        if series["exponent"] is not None:
            console.print(f"{series['case']}: time ~ size^{series['exponent']:.2f}")


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the chosen cases, print the table, write JSON and figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes: does the script run at all")
    parser.add_argument("--json", type=Path, default=Path("out/benchmarks.json"))
    parser.add_argument("--plots", type=Path, default=None, help="folder of the figures; default: beside the JSON")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES))
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 200)
    rows: list[Row] = []
    record: dict[str, Any] = {}
    for name in options.only:
        for row in CASES[name](options.quick, options.seed):
            rows.append(row)
            console.print(f"{row.case} | {row.package} | {row.size}: {row.measurement.wall} s")
            record = {
                "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                "seed": options.seed,
                "quick": options.quick,
                "machine": machine(),
                "load": os.getloadavg(),
                "rows": as_record(rows),
                "growth": growth_of(rows),
            }
            options.json.parent.mkdir(parents=True, exist_ok=True)  # written after every row: a run can be stopped
            options.json.write_text(json.dumps(record, indent=1))
    show(record, console)
    for path in draw(record, options.plots or options.json.parent):
        console.print(f"wrote {path}")
    console.print(f"wrote {options.json}")
    return record


if __name__ == "__main__":
    main()
