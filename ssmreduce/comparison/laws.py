"""The checks of a comparison: its two laws, an independent frequency sweep, and what python-control refutes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssmreduce.comparison.referee import difference_ends
from ssmreduce.comparison.sweep import Samples, largest, samples
from ssmreduce.comparison.work import Work
from ssmreduce.parallel import Once, spread
from ssmreduce.results import Row
from theory.systems.system import DiagonalStateSpace, System


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


def swept(system: System, work: Sequence[Work], points: int, seed: int, workers: int | None = 1) -> list[str]:
    """Sweep every error on one shared grid, by the route of :mod:`ssmreduce.comparison.sweep`.

    The largest gain found is evaluated once more, with proved ends: only a gain whose lower end lies above the bracket
    is reported.
    """
    angle = np.angle(system.poles.ravel()) if system.is_discrete else system.poles.ravel().imag
    omega = np.unique(np.abs(angle) if system.is_real else angle)
    omega = (
        omega[np.unique(np.linspace(0, omega.size - 1, min(points, omega.size)).astype(int))] if omega.size else omega
    )
    top = np.pi if system.is_discrete else 2.0 * float(np.abs(system.poles).max(initial=1.0))
    omega = np.unique(np.concatenate([omega, np.linspace(0.0 if system.is_real else -top, top, points)]))
    full = samples(system, omega)
    shape = (system.m, omega.size * int(np.prod(system.batch_shape if isinstance(system, DiagonalStateSpace) else ())))
    groups: dict[bytes, list[Work]] = {}
    for i, item in enumerate(work):
        if item.reduced is not None and item.row.error is not None:
            groups.setdefault(item.selection or str(i).encode(), []).append(item)
    whole, listed = Once(full), list(groups.values())
    pieces = [(whole, group[0].reduced, omega, shape, seed) for group in listed]
    found = []
    for number, (gain, index) in spread(_largest, pieces, workers):
        channel, point = divmod(index, omega.size)
        for item in listed[number]:
            if item.reduced is None or item.row.error is None or gain <= item.row.error.upper:
                continue
            low, _ = difference_ends(system, item.reduced, float(omega[point]), channel)
            if low > item.row.error.upper:
                found.append(
                    f"{_label(item.row)}: the sweep attains {low:.8g} at {omega[point]:.6g}, above the upper end "
                    f"{item.row.error.upper:.8g} of the bracket"
                )
    return found


def _largest(
    whole: Once[Samples], reduced: System, omega: NDArray[Any], shape: tuple[int, int], seed: int
) -> tuple[float, int]:
    return largest(whole.value, samples(reduced, omega), shape, seed)


def conflicts(rows: Iterable[Row]) -> list[str]:
    """Rows whose bracket python-control refutes."""
    return [f"{_label(row)}: {row.crosscheck.detail}" for row in rows if row.crosscheck and row.crosscheck.in_conflict]


def _label(row: Row) -> str:
    return f"{row.method}, order {row.order}"
