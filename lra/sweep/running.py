"""The sweep itself: reduce, measure, certify, store, group by group."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from lra.clipping import load_stable
from lra.errors import ConfigError
from lra.network import LraNetwork
from lra.sweep.certifying import RTOL, Certified
from lra.sweep.examples import Inputs, Part, affordable, drawn, task_of
from lra.sweep.grid import Grid, Point
from lra.sweep.measuring import H2Errors, Predictions, RecordedErrors, size_of, step_milliseconds
from lra.sweep.reducing import REFUSALS, Candidate, Reducing
from lra.sweep.result import Row, Sweep
from lra.sweep.storage import Storage, held
from lra.tasks.task import Task
from ssmreduce import Model
from ssmreduce.methods.allocation import budget_of
from ssmreduce.network import Parts
from ssmreduce.progress import silent

SPLITS = ("test", "validation")
"""Labels of the training split are nobody's business here."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What every row of a sweep has in common, besides the model; see `lra.sweep.sweep`."""

    split: str = "test"
    examples: int | None = None
    recorded: int = 200
    time: bool = False

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ConfigError(f"split {self.split!r} is not one of {', '.join(SPLITS)}")
        for name, value in (("examples", self.examples), ("recorded", self.recorded)):
            whole = isinstance(value, int) and not isinstance(value, bool)
            if value is not None and (not whole or value < 1):
                raise ConfigError(f"{name} is a number of examples, at least 1; got {value!r}")


def run(
    checkpoint: str | Path,
    grid: Grid,
    settings: Settings,
    *,
    data: str | None = None,
    folder: Path | None = None,
    jobs: int | None = None,
    clip_eigs: bool = False,
    progress: Callable[[int, int, str], None] | None = None,
) -> Sweep:
    """Do what is missing; see `lra.sweep.sweep`."""
    model = load_stable(checkpoint, clip_eigs)
    task = task_of(model.options, data, str(checkpoint))
    report = progress or silent
    with held(folder):
        storage = Storage(folder, grid.points, subject_of(model, task, settings))
        total, missing = len(grid.points), storage.missing
        if missing or not storage.whole:
            report(total - len(missing), total, "the whole model")
            bench = Bench(model, task, settings, jobs)
            storage.whole = bench.whole
            for group in _groups(missing):
                done = total - len(storage.missing)
                storage.add(bench.rows(group, lambda more, what, done=done: report(done + more, total, what)))
        storage.write()
        report(total, total, "done")
        return storage.sweep


def subject_of(model: Model, task: Task, settings: Settings) -> dict[str, Any]:
    """What rows must have in common to stand in one table."""
    digest = hashlib.sha256()
    for key, leaf in sorted(_flat(model.tree).items()):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{key} {array.dtype.str} {array.shape}\n".encode() + array.tobytes())
    digest.update(json.dumps(dict(model.options), sort_keys=True, default=str).encode())
    rows = len(getattr(task, settings.split))
    fewer = settings.examples is not None and settings.examples < rows
    return {
        "checkpoint": Path(model.path).stem,
        "sha256": digest.hexdigest(),
        "task": task.name,
        "classes": task.n_classes,
        "split": settings.split,
        "examples": settings.examples if fewer else rows,
        **({"chosen": "spread"} if fewer else {}),  # the first ones until November 2026
        "recorded": settings.recorded,
        "rtol": RTOL,
        "time": settings.time,
    }


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not hasattr(tree, "items"):
        return {prefix: tree}
    return {key: leaf for name, node in tree.items() for key, leaf in _flat(node, f"{prefix}/{name}").items()}


def _groups(points: list[Point]) -> list[list[Point]]:
    """All ratios of a method, an allocation and a seed; seed after seed: one seed's examples are held at a time."""
    ordered = sorted(points, key=lambda point: point.seed)
    return [list(group) for _, group in groupby(ordered, key=lambda p: (p.method, p.allocation, p.seed))]


class Bench:
    """One model, its examples, and everything that is compiled or computed once."""

    def __init__(self, model: Model, task: Task, settings: Settings, jobs: int | None) -> None:
        self.model, self.settings = model, settings
        split = getattr(task, settings.split).spread(settings.examples)
        inputs, training = Inputs(task, split), Inputs(task, task.train)
        self.network = LraNetwork(model, inputs, inputs.lengths)
        self.predictions = Predictions(self.network, split.y[split.indices])
        self.training = LraNetwork(model, training, training.lengths)
        width = sum(layer.n_channels for layer in model.layers)
        self._drawn = lambda seed: drawn(len(task.train), settings.recorded, affordable(task, width), seed)
        self.reducing = Reducing(self.training, lambda seed: self._drawn(seed)[1])
        self.certified = Certified(model.layers, jobs)
        self.h2_errors = H2Errors(model.layers)
        self._times: dict[tuple[int, ...], float] = {}

    @property
    def whole(self) -> dict[str, Any]:
        """The model with all its states."""
        return {
            "architecture": self.model.architecture,
            "accuracy": self.predictions.accuracy,
            "states": self.model.n_states,
            "orders": [layer.order for layer in self.model.layers],
            **size_of(self.model),
            "step_ms": self._time(self.network.parts),
            "norms": [norm.upper for norm in self.certified.norms],
        }

    @cached_property
    def recorded_errors(self) -> RecordedErrors:
        """On training examples that nothing is fitted to."""
        rows = self._drawn(0)[0]
        found = Part(self.training, rows).run(self.training.parts, np.arange(len(rows)), range(len(self.model.layers)))
        return RecordedErrors(self.model.layers, found)

    def rows(self, points: list[Point], report: Callable[[int, str], None]) -> list[Row]:
        """Reduce and measure all points, then certify the layers of all of them at once."""
        found: list[tuple[Row, Candidate | None]] = []
        for done, point in enumerate(points):
            report(done, f"{point.method}, {point.allocation}, {point.ratio:g} removed")
            found.append(self._measured(point))
        wanted = {
            key: (self.model.layers[index], candidate.parts.layers[index])
            for _, candidate in found
            if candidate is not None
            for index, key in enumerate(candidate.keys)
        }
        what = f"{points[0].method}, {points[0].allocation}: certified errors"
        self.certified.prepare(
            wanted, lambda done, total: report(len(points) * done // total, f"{what} {done}/{total}")
        )
        return [row if candidate is None else self._certified(row, candidate) for row, candidate in found]

    def _measured(self, point: Point) -> tuple[Row, Candidate | None]:
        start = time.perf_counter()
        layers = self.model.layers
        told: dict[str, Any] = {
            **point._asdict(),
            "budget": budget_of(self.model.n_states, point.ratio, len(layers)),
            "split": self.settings.split,
            "examples": len(self.predictions.labels),
        }
        try:
            candidate = self.reducing.candidate(point, told["budget"])
            scores = self.predictions.of(candidate.parts)
        except REFUSALS as refusal:
            told["status"] = " ".join(str(refusal).split()) or type(refusal).__name__
            return Row(**told, seconds=time.perf_counter() - start), None
        reduced = candidate.parts.layers
        errors = [self.recorded_errors.of(index, layer) for index, layer in enumerate(reduced)]
        noise = [self.h2_errors.of(index, layer) for index, layer in enumerate(reduced)]
        smaller = self.network.with_parts(candidate.parts)
        row = Row(
            **told,
            **scores,
            **size_of(smaller),
            recorded_error=max(errors),
            h2_error=max(noise),
            rule=candidate.rule,
            states=sum(layer.order for layer in reduced),
            orders=tuple(layer.order for layer in reduced),
            layers=tuple(
                {"states": layer.order, "recorded_error": error, "h2_error": white}
                for layer, error, white in zip(reduced, errors, noise, strict=True)
            ),
            step_ms=self._time(candidate.parts),
            seconds=time.perf_counter() - start,
        )
        return row, candidate

    def _certified(self, row: Row, candidate: Candidate) -> Row:
        layers = [
            {**told, **self.certified.of(key, index)}
            for index, (told, key) in enumerate(zip(row.layers, candidate.keys, strict=True))
        ]
        shares = [layer["relative"] for layer in layers if layer["relative"] is not None]
        ends = {"error_lower": None, "error_upper": None}
        if len(shares) == len(layers):
            ends = {f"error_{end}": max(float(share[end]) for share in shares) for end in ("lower", "upper")}
        return Row(**{**row.__dict__, **ends, "layers": tuple(layers)})

    def _time(self, parts: Parts) -> float | None:
        if not self.settings.time:
            return None
        orders = tuple(layer.order for layer in parts.layers)
        if orders not in self._times:
            self._times[orders] = step_milliseconds(self.network, self.network.with_parts(parts))
        return self._times[orders]
