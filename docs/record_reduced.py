"""Models reduced from recorded inputs, measured by the two commands that users run: ``python docs/record.py reduced``.

Every point is ``python -m lra reduce`` and then ``python -m lra evaluate`` in processes of their own; a row is written
as soon as it is measured. ListOps and Pathfinder need data that are generated; the commands are in
``lra/configs/{listops,pathfinder}_small.py``.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
COMMAND = (
    "python -m lra reduce CHECKPOINT --data FOLDER --ratio REMOVED --seed SEED -o small.safetensors --clip-eigs "
    "(or --max-change); python -m lra evaluate small.safetensors --data FOLDER"
)
WHAT = (
    "accuracy on the whole test split, in percent; 'certified' is the upper end of each layer's error for all inputs, "
    "'changed' the part of the held-out, unlabelled training examples whose prediction is another one, 'processor' the "
    "processor seconds of the reduction; 'commit' is the code that a row was measured with"
)

SIZES = (
    ("smnist_small_s5", "ratio", (0.75, 0.9)),
    ("listops_small_s5", "ratio", (0.5, 0.75)),
    ("smnist_s5", "ratio", (0.8, 0.9, 0.95)),
    ("smnist_small_s4d", "ratio", (0.75, 0.875, 0.9375)),
    ("speech8_small_s5", "ratio", (0.5, 0.75)),
    ("psmnist_small_s5", "ratio", (0.75, 0.9)),
    ("listops_small_s4d", "ratio", (0.5, 0.75)),
    ("image_small_s5", "ratio", (0.5, 0.75)),
    ("text_small_s5", "ratio", (0.5, 0.75)),
    ("pathfinder_small_s5", "ratio", (0.5, 0.75)),
    ("smnist_small_s5", "max_change", (0.003,)),
    ("smnist_s5", "max_change", (0.003,)),
)
POINTS = tuple((checkpoint, size, value) for checkpoint, size, values in SIZES for value in values)
SEEDS = (0, 1, 2)
KEY = ("checkpoint", "size", "value", "seed")


HEAD = ("| model, whole | states removed | states left | test accuracy |", "|---|---:|---:|---|")
MARK = "<!-- reduced: table -->"


def reduced_table(record: dict[str, Any]) -> list[str]:
    """Rows of a Markdown table: what is left of each model's accuracy, the mean over the seeds and their range."""
    lines, told = [], None
    for checkpoint, size, value in POINTS:
        rows = [row for row in record["rows"] if tuple(row[name] for name in KEY[:3]) == (checkpoint, size, value)]
        if not rows:
            continue
        found, kept = [row["accuracy"] for row in rows], sorted({sum(row["orders"]) for row in rows})
        states = str(kept[0]) if len(kept) == 1 else f"{kept[0]} to {kept[-1]}"
        asked = f"{value:.4g} of the predictions may change" if size == "max_change" else f"{100 * value:.4g} %"
        spread = f"{min(found):.2f} to {max(found):.2f}, {len(found)} seeds" if len(found) > 1 else "one seed"
        name = "" if checkpoint == told else f"`{checkpoint}`, {whole_accuracy(checkpoint)} %"
        lines.append(f"| {name} | {asked} | {states} | {sum(found) / len(found):.2f} % ({spread}) |")
        told = checkpoint
    return lines


def whole_accuracy(checkpoint: str) -> str:
    """That of the model before reduction, as its file says."""
    path = next(ROOT.glob(f"*/*/{checkpoint}.json"))
    return f"{100 * json.loads(path.read_text(encoding='utf-8'))['training']['test_accuracy']:.2f}"


def filled(text: str) -> str:
    """Put the table where a page has its mark."""
    if MARK not in text:
        return text
    record = json.loads((ROOT / "docs" / "recorded" / "reduced.json").read_text(encoding="utf-8"))
    return text.replace(MARK, "\n".join([*HEAD, *reduced_table(record)]))


def timed(*command: str) -> tuple[str, float, float]:
    """Run a command of this Python; its output, seconds, and processor seconds."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.stdout, time.perf_counter() - start, processor


def measured(checkpoint: str, size: str, value: float, seed: int, data: str, commit: str) -> dict[str, Any]:
    """One row."""
    path = str(next(ROOT.glob(f"*/*/{checkpoint}.safetensors")))
    with tempfile.TemporaryDirectory() as folder:
        small = f"{folder}/small.safetensors"
        option = f"--{size.replace('_', '-')}"
        told, seconds, processor = timed(
            "-m", "lra", "reduce", path, "--data", data, option, str(value), "--seed", str(seed), "-o", small,
            "--quiet", "--clip-eigs",
        )
        print(told, flush=True)
        found = json.loads(timed("-m", "lra", "evaluate", small, "--data", data, "--json")[0])
        training = json.loads(Path(small).with_suffix(".json").read_text(encoding="utf-8"))["training"]
    reduction = training["reduction"]
    kept, before = sum(reduction["orders"]), sum(reduction["orders_before"])
    return {
        "checkpoint": checkpoint, "size": size, "value": value, "seed": seed,
        "removed": round(1 - kept / before, 4), "orders": reduction["orders"],
        "accuracy": round(100 * found["accuracy"], 2), "examples": found["examples"],
        "certified": [float(f"{upper:.3g}") for _, upper in reduction["certified_errors"]],
        "divergence": float(f"{reduction['divergence']:.3g}"), "changed": round(reduction["changed_predictions"], 4),
        "observability": reduction["observability"], "allocation": reduction["allocation"],
        "stages": [stage["name"] for stage in reduction["stages"]],
        "seconds": round(seconds), "processor": round(processor), "load": round(os.getloadavg()[0], 1),
        "measured": datetime.now(UTC).strftime("%Y-%m-%d"), "commit": commit,
    }  # fmt: skip


def record_reduced(arguments: Any) -> None:
    """Measure points again, or (``--missing``) only those that the record lacks; it is written after each."""
    from record import commit, machine, write

    path = arguments.folder / "reduced.json"
    record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"rows": []}
    rows = {tuple(row[name] for name in KEY): row for row in record["rows"]}
    place = {point: i for i, point in enumerate(POINTS)}
    for seed in map(int, arguments.seeds.split(",")):
        for point in POINTS:
            key = (*point, seed)
            if arguments.only not in (None, point[0]) or arguments.size not in (None, point[1]):
                continue
            if arguments.missing and key in rows:
                continue
            rows[key] = measured(*key, arguments.data, commit())
            print(json.dumps(rows[key]), flush=True)
            kept = sorted((held for held in rows if held[:3] in place), key=lambda held: (place[held[:3]], held[3]))
            head = {"command": COMMAND, "what": WHAT, "machine": machine()}
            write("reduced", head | {"rows": [rows[held] for held in kept]}, arguments.folder)
