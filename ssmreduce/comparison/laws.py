"""The checks of a comparison: its two laws, an independent frequency sweep, and python-control."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ssmreduce.comparison.second_opinions import python_control_opinion, witness_opinion
from ssmreduce.comparison.sweep import attained, samples
from ssmreduce.results import Opinion, Row
from theory.systems.difference import difference
from theory.systems.system import DiagonalStateSpace, System

SMALL = 16
"""States below which the time of python-control does not depend on their number."""


@dataclass(kw_only=True)
class Work:
    """A row in the making, with the reduced system that it is about."""

    row: Row
    reduced: System | None = None

    @property
    def selection(self) -> bytes:
        """The same for methods that keep the same stored states; empty for methods that make new ones."""
        kept = self.row.kept
        return b"" if kept is None else np.sort(kept, axis=-1).tobytes()


def violated(rows: Iterable[Row]) -> list[str]:
    """Rows in which ``floor <= error <= bound`` does not hold."""
    return list(_violations(rows))


def _violations(rows: Iterable[Row]) -> Iterable[str]:
    for row in rows:
        if row.error is None:
            continue
        if row.floor > row.error.upper:
            yield f"{_label(row)}: the error {row.error.upper:.6g} is below the floor {row.floor:.6g}"
        if row.bound is not None and row.error.lower > row.bound:
            yield f"{_label(row)}: the error {row.error.lower:.6g} exceeds the bound {row.bound:.6g}"


def swept(system: System, work: Sequence[Work], points: int, seed: int) -> list[str]:
    """Sweep every error on one shared grid, by the route of :mod:`ssmreduce.comparison.sweep`."""
    angle = np.angle(system.poles.ravel()) if system.is_discrete else system.poles.ravel().imag
    omega = np.unique(np.abs(angle) if system.is_real else angle)
    omega = (
        omega[np.unique(np.linspace(0, omega.size - 1, min(points, omega.size)).astype(int))] if omega.size else omega
    )
    top = np.pi if system.is_discrete else 2.0 * float(np.abs(system.poles).max(initial=1.0))
    omega = np.unique(np.concatenate([omega, np.linspace(0.0 if system.is_real else -top, top, points)]))
    full = samples(system, omega)
    shape = (system.m, omega.size * int(np.prod(system.batch_shape if isinstance(system, DiagonalStateSpace) else ())))
    rounding = 1e-12 * float(attained(full, None, shape, seed).max(initial=0.0))
    found = []
    known: dict[bytes, tuple[float, float]] = {}
    for item in work:
        if item.reduced is None or item.row.error is None:
            continue
        if item.selection not in known or not item.selection:
            gains = attained(full, samples(item.reduced, omega), shape, seed)
            known[item.selection] = float(gains.max()), float(omega[int(gains.argmax()) % omega.size])
        attained_gain, frequency = known[item.selection]
        if attained_gain > item.row.error.upper * (1 + 1e-9) + rounding:
            found.append(
                f"{_label(item.row)}: the sweep attains {attained_gain:.8g} at {frequency:.6g}, above the upper end "
                f"{item.row.error.upper:.8g} of the bracket"
            )
    return found


def ask_python_control(
    system: System, work: Sequence[Work], budget: float, rtol: float, report: Callable[[int, str], None]
) -> None:
    """Fill in the opinions: linfnorm where the budget allows it, the gain at the witness elsewhere.

    Half of the budget is for the methods that make new poles (their error systems are the largest); the cost of the
    next call is estimated from the last one as the cube of the number of states.
    """
    tasks = []
    for item in work:
        if item.reduced is None or item.row.error is None:
            continue
        error = difference(system, item.reduced)
        if isinstance(error, DiagonalStateSpace) and error.batch_shape:
            error = error[np.unravel_index(int(item.row.error.diagnostics.get("channel", 0)), error.batch_shape)]
        tasks.append((item, error))
    new = sorted((task for task in tasks if task[0].row.kept is None), key=lambda task: task[1].n)
    selected = sorted((task for task in tasks if task[0].row.kept is not None), key=lambda task: task[1].n)
    if importlib.util.find_spec("control") is not None:
        importlib.import_module("control")  # seconds that are not the price of a norm
    done, left, cost, size = 0, budget, 0.0, SMALL
    asked: dict[bytes, Opinion] = {}
    for group, share in ((selected, 0.5 if new else 1.0), (new, 1.0)):
        allowance = left if np.isinf(left) else left * share
        for item, error in group:
            done += 1
            report(done, f"python-control: {item.row.method}, order {item.row.order}")
            assert item.row.error is not None
            start = time.perf_counter()
            key = item.selection
            if key in asked:
                opinion = replace(asked[key], seconds=0.0)
            elif cost * (max(error.n, SMALL) / size) ** 3 < allowance:
                opinion = python_control_opinion(error, item.row.error, rtol=rtol)
                cost, size = opinion.seconds, max(error.n, SMALL)
                if key:
                    asked[key] = opinion
            else:
                opinion = witness_opinion(error, item.row.error, rtol=rtol)
            spent = time.perf_counter() - start
            allowance, left = allowance - spent, left - spent
            item.row = replace(item.row, crosscheck=opinion)


def conflicts(rows: Iterable[Row]) -> list[str]:
    """Rows whose bracket python-control refutes."""
    return [f"{_label(row)}: {row.crosscheck.detail}" for row in rows if row.crosscheck and row.crosscheck.in_conflict]


def _label(row: Row) -> str:
    return f"{row.method}, order {row.order}"
