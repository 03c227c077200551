"""The experiment of docs/experiment.md: every method on every shipped model, at equal budgets; what it shows.

    python docs/experiment.py run [NAME ...] --data FOLDER --sweeps DIR   # hours on two cores; resumable
    python docs/experiment.py collect --sweeps DIR                        # DIR to docs/recorded/experiment.json
    python docs/experiment.py show                                        # the tables of the page

The page's tables are made from the record when it is built.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from record import HERE, commit, machine, recorded, write

CHECKPOINTS = (*(HERE.parent / "ssmreduce" / "checkpoints").glob("*.safetensors"),
               *(HERE.parent / "lra" / "weights").glob("*.safetensors"))  # fmt: skip
RATIOS = (0.33, 0.5, 0.6, 0.75, 0.9)
"""LAST's published mean is 0.33, AIRE's 0.6."""
MATCHED = ("balanced", "time_limited(horizon={L})", "last", "aire", "lamp", "magnitude", "random", "empirical")
OWN, OWN_RATIOS = ("balanced", "last", "aire"), (0.33, 0.6)
SEEDS, EXAMPLES = 2, 500
RULES = ("uniform", "time_limited", "hsv", "abs2", "hinf", "last", "aire", "lamp", "global", "global_magnitude")
"""All rules that need no data, with balanced truncation, on the validation split: a default is chosen by it."""
RULE_RATIOS = (0.25, 0.5, 0.75)
KEPT = ("method", "allocation", "ratio", "seed", "accuracy", "changed", "divergence", "error_upper", "h2_error",
        "recorded_error", "states", "status")  # fmt: skip
MEASURES = {
    "error_upper": "H-infinity error, certified",
    "h2_error": "H2 error",
    "recorded_error": "error on recorded inputs",
    "changed": "changed predictions",
}
DRAWS, SEED = 2000, 0

Array = NDArray[Any]
Rows = Sequence[Mapping[str, Any]]


def run(data: str, folder: Path, only: Sequence[str]) -> None:
    """Sweep the models, one after the other, smallest file first."""
    from lra.sweep import sweep
    from ssmreduce import load

    paths = [
        path for path in sorted(CHECKPOINTS, key=lambda path: path.stat().st_size) if path.stem in only or not only
    ]
    for methods, rules, ratios in ((MATCHED, ("uniform",), RATIOS), (OWN, ("own",), OWN_RATIOS)):
        for path in paths:
            print(path.stem, *rules, flush=True)
            named = [method.format(L=load(path).options["L"]) for method in methods]
            sweep(path, ratios=ratios, methods=named, allocations=rules, seeds=SEEDS, data=data, examples=EXAMPLES,
                  folder=folder / path.stem, jobs=1, clip_eigs=True)  # fmt: skip
    for path in paths:
        print(path.stem, "allocations", flush=True)
        sweep(path, ratios=RULE_RATIOS, methods=("balanced",), allocations=RULES, data=data, examples=EXAMPLES,
              split="validation", folder=folder / f"{path.stem}-allocations", jobs=1, clip_eigs=True)  # fmt: skip


def collect(folder: Path) -> None:
    """Write the two records."""
    paths = sorted(folder.glob("*/sweep.json"))
    _collected("experiment", [path for path in paths if not path.parent.name.endswith("-allocations")])
    _collected("allocations", [path for path in paths if path.parent.name.endswith("-allocations")])


def _collected(record: str, paths: Sequence[Path]) -> None:
    """Models that were swept anew replace what is held of them; the others stay, with the commit that measured them."""
    held = recorded(record)
    wholes, rows = dict(held["wholes"]), list(held["rows"])
    for path in paths:
        found = json.loads(path.read_text(encoding="utf-8"))
        name = found["subject"]["checkpoint"]
        wholes[name] = {
            "accuracy": found["whole"]["accuracy"],
            **{key: found["subject"][key] for key in ("classes", "examples", "sha256", "split")},
            "chosen": found["subject"].get("chosen", "all"),
            "commit": commit(),
        }
        rows = [row for row in rows if row["checkpoint"] != name]
        rows += [{"checkpoint": name} | {key: _short(row[key]) for key in KEPT} for row in found["rows"]]
    command = "python docs/experiment.py run --data FOLDER --sweeps DIR; python docs/experiment.py collect --sweeps DIR"
    write(record, {"command": command, "machine": machine(), "wholes": wholes, "rows": rows})


def _short(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value


# --- what it shows --------------------------------------------------------------------------------------------------


def family(method: str) -> str:
    """The method without its parameters."""
    return method.partition("(")[0]


def model_of(checkpoint: str) -> str:
    """Checkpoints that differ in the seed of their training alone are one model."""
    return re.sub(r"_seed\d+$", "", checkpoint)


def loss(record: Mapping[str, Any], row: Mapping[str, Any]) -> float:
    """Share of what the whole model has above chance that is lost: 0 nothing, 1 everything."""
    whole = record["wholes"][row["checkpoint"]]
    chance = 1 / whole["classes"]
    return float((whole["accuracy"] - row["accuracy"]) / (whole["accuracy"] - chance))


def measured(record: Mapping[str, Any]) -> Rows:
    """Rows that have everything."""
    return [row for row in record["rows"] if all(row[key] is not None for key in ("accuracy", *MEASURES))]


def by_model(record: Mapping[str, Any], method: str, allocation: str, ratio: float) -> dict[str, float]:
    """Accuracy in percent of each model, mean over the seeds."""
    found: dict[str, list[float]] = {}
    for row in record["rows"]:
        asked = (family(row["method"]), row["allocation"], row["ratio"])
        if asked == (method, allocation, ratio) and row["accuracy"] is not None:
            found.setdefault(row["checkpoint"], []).append(100 * row["accuracy"])
    return {name: float(np.mean(values)) for name, values in found.items()}


def accuracies(record: Mapping[str, Any], ratio: float, allocation: str = "uniform") -> str:
    """A line a model, a column a method; the best is bold."""
    methods = [family(name) for name in (MATCHED if allocation == "uniform" else OWN)]
    columns = {method: by_model(record, method, allocation, ratio) for method in methods}
    lines = []
    for name, whole in sorted(record["wholes"].items()):
        values = [columns[method].get(name) for method in methods]
        best = max((value for value in values if value is not None), default=None)
        cells = ["–" if value is None else f"**{value:.1f}**" if value == best else f"{value:.1f}" for value in values]
        lines.append([f"`{name}`", f"{100 * whole['accuracy']:.1f}", *cells])
    return _table(["model", "whole", *(f"`{method}`" for method in methods)], lines)


def lost_table(record: Mapping[str, Any]) -> list[str]:
    """A line a ratio: mean percent lost of what lies above chance, seeds of a model's training counted once."""
    methods = [family(name) for name in MATCHED if name != "lamp"]  # the same reductions as "magnitude" here
    head = ["states removed", *(f"`{method}`" for method in methods)]
    lines = [f"| {' | '.join(head)} |", "|---:" * len(head) + "|"]
    for ratio in RATIOS:
        means = []
        for method in methods:
            found: dict[str, list[float]] = {}
            for name, accuracy in by_model(record, method, "uniform", ratio).items():
                lost = loss(record, {"checkpoint": name, "accuracy": accuracy / 100})
                found.setdefault(model_of(name), []).append(100 * lost)
            means.append(float(np.mean([np.mean(values) for values in found.values()])))
        cells = (f"**{value:.1f}**" if value == min(means) else f"{value:.1f}" for value in means)
        lines.append(f"| {100 * ratio:.0f} % | {' | '.join(cells)} |")
    return lines


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Rank correlation, ties averaged."""
    from scipy.stats import spearmanr

    return float(spearmanr(x, y).statistic)


def correlations(record: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Rank correlation of each measure with the loss: pooled, over redrawn sets of models, within models."""
    rows = measured(record)
    names = sorted({model_of(row["checkpoint"]) for row in rows})
    losses = {name: [loss(record, row) for row in rows if model_of(row["checkpoint"]) == name] for name in names}
    generator, found = np.random.default_rng(SEED), {}
    draws = generator.integers(0, len(names), (DRAWS, len(names)))
    times = (draws[:, :, None] == np.arange(len(names))).sum(axis=1)
    weights = times[:, np.repeat(np.arange(len(names)), [len(losses[name]) for name in names])].astype(float)
    every_loss = np.concatenate([losses[name] for name in names])
    for key in MEASURES:
        values = {name: [row[key] for row in rows if model_of(row["checkpoint"]) == name] for name in names}
        every_value = np.concatenate([values[name] for name in names])
        low, high = np.percentile(weighted_spearman(every_value, every_loss, weights), [5, 95])
        within = [spearman(values[name], losses[name]) for name in names]
        found[key] = {
            "pooled": _pooled(names, values, losses), "low": float(low), "high": float(high),
            "within": float(np.mean(within)), "least": min(within),
        }  # fmt: skip
    return found


def weighted_spearman(x: Array, y: Array, weights: Array) -> Array:
    """Rank correlations of samples in which entry i stands ``weights[d, i]`` times, one for each d."""
    weights = weights / weights.sum(axis=1, keepdims=True)

    def ranks(values: Array) -> Array:
        """Of equal values the middle; about their mean, over their deviation."""
        distinct, place = np.unique(values, return_inverse=True)
        share = weights @ (place[:, None] == np.arange(distinct.size))
        rank = (np.cumsum(share, axis=1) - 0.5 * share)[:, place]
        rank = rank - (weights * rank).sum(axis=1, keepdims=True)
        return np.asarray(rank / np.sqrt((weights * rank**2).sum(axis=1, keepdims=True)))

    return np.asarray((weights * ranks(x) * ranks(y)).sum(axis=1))


def _pooled(names: Iterable[str], values: Mapping[str, list[float]], losses: Mapping[str, list[float]]) -> float:
    names = list(names)
    return spearman([v for name in names for v in values[name]], [v for name in names for v in losses[name]])


def correlation_table(record: Mapping[str, Any]) -> str:
    """A line a measure."""
    lines = [
        [MEASURES[key], f"{told['pooled']:.2f}", f"{told['low']:.2f} to {told['high']:.2f}", f"{told['within']:.2f}",
         f"{told['least']:.2f}"]
        for key, told in correlations(record).items()
    ]  # fmt: skip
    titles = ["measure, largest over the layers", "all models", "90 % of redrawn sets of models", "mean within a model"]
    return _table([*titles, "least of a model"], lines)


def rules(record: Mapping[str, Any]) -> str:
    """A line an allocation, best first: percent lost of what lies above chance, over models and ratios."""
    losses = {rule: list(by_point.values()) for rule, by_point in rule_losses(record).items()}
    ranked = sorted(losses.items(), key=lambda item: float(np.mean(item[1])))
    lines = [[f"`{rule}`", f"{np.mean(found):.1f}", f"{max(found):.1f}"] for rule, found in ranked]
    return _table(["allocation", "mean loss, % of what lies above chance", "worst"], lines)


def rule_losses(record: Mapping[str, Any]) -> dict[str, dict[tuple[str, float], float]]:
    """Of each allocation, by model and ratio: the loss in percent, the mean over the seeds of a model's training."""
    found: dict[str, dict[tuple[str, float], list[float]]] = {}
    for row in record["rows"]:
        if row["accuracy"] is not None:
            point = (model_of(row["checkpoint"]), row["ratio"])
            found.setdefault(row["allocation"], {}).setdefault(point, []).append(100 * loss(record, row))
    return {rule: {point: float(np.mean(each)) for point, each in points.items()} for rule, points in found.items()}


def published(record: Mapping[str, Any]) -> str:
    """At the papers' mean ratios: points lost, each method with its own allocation, balanced beside it."""
    lines = []
    for method, ratio, said in (("last", 0.33, "0.52"), ("aire", 0.6, "0.29")):
        for name in OWN:
            found = by_model(record, name, "own", ratio)
            lost = [100 * record["wholes"][model]["accuracy"] - value for model, value in found.items()]
            told = said if name == method else ""
            lines.append(
                [
                    f"{100 * ratio:.0f} %",
                    f"`{name}`",
                    told,
                    f"{np.mean(lost):.1f}",
                    f"{min(lost):.1f}",
                    f"{max(lost):.1f}",
                ]
            )
    titles = ["removed", "method, own allocation", "published mean loss", "mean loss here", "least", "most"]
    return _table(titles, lines)


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in (titles, ["---"] * len(titles), *rows))


MARKS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "<!-- experiment: allocations -->": rules,
    "<!-- experiment: 33 -->": lambda record: accuracies(record, 0.33),
    "<!-- experiment: 50 -->": lambda record: accuracies(record, 0.5),
    "<!-- experiment: 60 -->": lambda record: accuracies(record, 0.6),
    "<!-- experiment: 75 -->": lambda record: accuracies(record, 0.75),
    "<!-- experiment: 90 -->": lambda record: accuracies(record, 0.9),
    "<!-- experiment: correlations -->": correlation_table,
    "<!-- experiment: published -->": published,
}


def filled(text: str) -> str:
    """Put the tables where a page has their marks."""
    for mark in MARKS:
        if mark in text:
            text = text.replace(mark, table(mark))
    return text


def table(mark: str) -> str:
    """The table of one mark, from its record."""
    return MARKS[mark](recorded("allocations" if mark == "<!-- experiment: allocations -->" else "experiment"))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "collect", "show"))
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--data")
    parser.add_argument("--sweeps", type=Path, default=Path("sweeps"))
    arguments = parser.parse_args()
    if arguments.what == "run":
        run(arguments.data, arguments.sweeps, arguments.names)
    elif arguments.what == "collect":
        collect(arguments.sweeps)
    else:
        for mark in MARKS:
            print(mark, table(mark), sep="\n", end="\n\n")


if __name__ == "__main__":
    main()
