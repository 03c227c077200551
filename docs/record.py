"""Record the runs whose numbers README and the docs quote; ``tests/docs/test_recorded_numbers.py`` compares them.

    python docs/record.py compare                        # first layer of the shipped model, python-control on every row
    python docs/record.py figure                         # the figure of that record, where only its look has changed
    python docs/record.py accuracy --data FOLDER [NAME]  # models reduced without retraining, on the test split
    python docs/record.py reduced --data FOLDER [NAME]   # models reduced from recorded inputs, on the test split
    python docs/record.py quotes                         # the lines and sentences that quote both, to be pasted

All but the last write to docs/recorded, or draw what is there. Accuracies that were measured before stay until they are
measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RECORDED = HERE / "recorded"


def machine() -> dict[str, Any]:
    """Where and when; the load says how far times can be trusted."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }


def write(name: str, record: dict[str, Any], folder: Path = RECORDED) -> None:
    """Write one record, one row a line."""
    head = {key: value for key, value in record.items() if key != "rows"}
    rows = ",\n  ".join(json.dumps(row) for row in record["rows"])
    text = json.dumps(head, indent=1)[:-2] + f',\n "rows": [\n  {rows}\n ]\n}}\n'
    json.loads(text)
    (folder / f"{name}.json").write_text(text, encoding="utf-8")


def record_compare() -> None:
    """Every method that needs no data, descents included, with python-control asked about every row; and the figure."""
    from ssmreduce import METHODS, compare, load, shipped_checkpoint
    from ssmreduce.progress import progress_bar

    model = load(shipped_checkpoint())
    names = []
    for name, method in METHODS.items():
        try:
            method.applies(model.layers[0])
        except ValueError:
            continue
        names += [] if method.requires else [name]
    with progress_bar() as progress:
        found = compare(model.layers[0], names, ORDERS, crosscheck="all", progress=progress)
    found.plot(HERE / "_static" / "compare.png")
    rows = []
    for row in found.rows:
        opinion = row.crosscheck
        rows.append(
            {
                "method": row.method,
                "order": row.order,
                "error": None if row.error is None else [row.error.lower, row.error.upper],
                "family": row.family,
                "h2_error": row.h2_error,
                "seconds": row.seconds,
                "bound": row.bound,
                "floor": row.floor,
                "status": row.status,
                "verdict": None if opinion is None else opinion.verdict,
                "gap": None if opinion is None else opinion.gap,
                "peer_seconds": None if opinion is None else opinion.seconds,
            }
        )
    provenance = found.provenance
    write(
        "compare",
        {
            "command": f"ssmreduce compare --crosscheck all --methods {','.join(names)} "
            f"--orders {','.join(map(str, ORDERS))}",
            "machine": machine(),
            "seed": provenance["seed"],
            "rtol": provenance["rtol"],
            "seconds": provenance["seconds"],
            "versions": provenance["versions"],
            "subject": found.subject,
            "test_accuracy": model.training["test_accuracy"],
            "norm": [found.norm.lower, found.norm.upper],
            "violations": list(found.violations),
            "rows": rows,
        },
    )


def certified(layer: Any, small: Any) -> float:
    """Upper end of the relative error of one layer, in percent."""
    from ssmreduce import error_norm, hinf_norm
    from ssmreduce.results import relative, worst

    error, norm = error_norm(layer.system, small.system, 1e-3), hinf_norm(layer.system, 1e-3)
    return round(100 * relative(worst(error), worst(norm)).upper, 2)


def commit() -> str:
    """The code that is checked out."""
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def record_accuracy(data: str | None, only: str | None) -> None:
    """Measure again what ``accuracy.json`` lists: for each row reduce, evaluate, replace."""
    from lra.evaluate import evaluate
    from ssmreduce import load, reduce_model

    path = RECORDED / "accuracy.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    for row in record["rows"]:
        if only not in (None, row["checkpoint"]):
            continue
        checkpoint = next(HERE.parent.glob(f"*/*/{row['checkpoint']}.safetensors"))
        with tempfile.TemporaryDirectory() as folder:
            if row["removed"]:
                whole = load(checkpoint)
                small = reduce_model(whole, row["removed"], row["method"], row["allocation"])
                row["certified"] = max(map(certified, whole.layers, small.layers))
                checkpoint = Path(small.save(Path(folder) / "small.safetensors"))
            result = evaluate(checkpoint, data=data)
        row |= {"accuracy": round(100 * result["accuracy"], 2), "measured": machine()["date"], "commit": commit()}
        print(row, flush=True)
        write("accuracy", record)


# --- what is quoted --------------------------------------------------------------------------------------------------

ERRORS = ("balanced", "hankel_norm", "hinf", "mixed", "h2", "modal", "last", "aire", "magnitude", "random")
ORDERS = (8, 16, 32, 48, 56)
ACCURACIES = ("balanced", "last", "modal", "random")


def recorded(name: str) -> dict[str, Any]:
    """Read a record."""
    found: dict[str, Any] = json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))
    return found


def error_table(record: dict[str, Any]) -> list[str]:
    """Rows of README's table: floors rounded down, errors over them rounded up, the smallest of each order bold."""
    from ssmreduce.view.text import outward

    by = {(row["method"], row["order"]): row for row in record["rows"]}
    lines = []
    for order in ORDERS:
        errors = [by[method, order]["error"][1] / by[method, order]["floor"] for method in ERRORS]
        cells = [outward(error, 1, 3) for error in errors]
        cells[errors.index(min(errors))] = f"**{cells[errors.index(min(errors))]}**"
        lines.append(f"| {order} | {outward(by['balanced', order]['floor'], -1, 4)} | {' | '.join(cells)} |")
    return lines


def peer_sentence(record: dict[str, Any]) -> str:
    """Where python-control's values lie, counted."""
    from ssmreduce.view.text import outward

    verdicts = [row["verdict"] for row in record["rows"]]
    inside, below = verdicts.count("agrees"), verdicts.count("below")
    most = outward(max(abs(row["gap"]) for row in record["rows"]), 1, 2)
    rest = len(verdicts) - inside - below
    end = "." if rest == 0 else f"; {rest} rows say something else."
    return (
        f"python-control's `linfnorm`, asked for 1e-10, lies inside the bracket in {inside} of {len(verdicts)} rows "
        f"and below it in {below}, by at most {most}{end}"
    )


def accuracy_of(
    record: dict[str, Any], checkpoint: str, method: str | None, removed: float, allocation: Any = None
) -> str:
    """One accuracy, in percent."""
    wanted = (checkpoint, method, allocation, removed)
    keys = ("checkpoint", "method", "allocation", "removed")
    (row,) = [row for row in record["rows"] if tuple(row[key] for key in keys) == wanted]
    return f"{row['accuracy']:.2f}"


def accuracy_table(record: dict[str, Any]) -> list[str]:
    """Rows of README's table."""
    lines = [f"| none | {accuracy_of(record, 'smnist_s5', None, 0)} % | | | |"]
    for removed in (0.25, 0.5, 0.75):
        cells = (f"{accuracy_of(record, 'smnist_s5', method, removed)} %" for method in ACCURACIES)
        lines.append(f"| {100 * removed:.0f} % | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    commands.add_parser("compare")
    commands.add_parser("figure")
    commands.add_parser("quotes")
    accuracy = commands.add_parser("accuracy")
    accuracy.add_argument("--data")
    accuracy.add_argument("only", nargs="?", metavar="NAME")
    reduced = commands.add_parser("reduced")
    reduced.add_argument("--data", required=True)
    reduced.add_argument("only", nargs="?", metavar="NAME")
    reduced.add_argument("--seeds", default="0,1,2", help="of the choice of examples")
    reduced.add_argument("--size", choices=("ratio", "max_change"), help="only points of this kind")
    reduced.add_argument("--missing", action="store_true", help="measure only what the record lacks")
    reduced.add_argument("--folder", type=Path, default=RECORDED, help="where reduced.json is (docs/recorded)")
    arguments = parser.parse_args()
    if arguments.what == "quotes":
        compared = recorded("compare")
        print("\n".join([*error_table(compared), peer_sentence(compared), *accuracy_table(recorded("accuracy"))]))
    elif arguments.what == "compare":
        record_compare()
    elif arguments.what == "figure":
        import record_figure  # beside this file

        record_figure.draw()
    elif arguments.what == "reduced":
        import record_reduced  # beside this file

        record_reduced.record_reduced(arguments)
    else:
        record_accuracy(arguments.data, arguments.only)


if __name__ == "__main__":
    main()
