"""Rows in the making: each method reduces at each order, then the errors are certified, several at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssmreduce.analysis import Analysis
from ssmreduce.methods.registry import Method
from ssmreduce.parallel import Once, spread
from ssmreduce.reduction import Reduction
from ssmreduce.results import Row, quantiles, relative, worst
from theory.errors import AccuracyError, ConvergenceError, OrderError, StabilityError
from theory.gramians.h2 import h2_norm
from theory.norms import error_norm
from theory.norms.bracket import Bracket
from theory.reduction.modal_gains import last_gains
from theory.systems.difference import difference
from theory.systems.system import DiagonalStateSpace, System

H2_TOL = 1e-9
"""Relative error of the energy behind an H2 norm: of its digits a table shows six, and the rest takes a factor each."""

FAILURES = (OrderError, AccuracyError, ConvergenceError, StabilityError)
"""What makes a row without numbers instead of an exception."""


@dataclass(kw_only=True)
class Work:
    """A row in the making, with the reduced system that it is about."""

    row: Row
    reduced: System | None = None
    floors: NDArray[Any] | None = None
    finished: bool = False

    @property
    def selection(self) -> bytes:
        """The same for methods that keep the same stored states; empty for methods that make new ones."""
        kept = self.row.kept
        return b"" if kept is None else np.sort(kept, axis=-1).tobytes()


def reduced(
    analysis: Analysis, jobs: Sequence[tuple[int, Method]], data: Mapping[str, Any], workers: int | None
) -> Iterator[tuple[int, Work]]:
    """Reduce once for each (order, method), several at a time; give the number of the job and its row.

    What cannot be delivered becomes a row that says so.
    """
    whole = Once(analysis)
    pieces = []
    for order, method in jobs:
        own = {key: value for key, value in data.items() if key in method.takes}
        pieces.append((whole, order, method, own))
    yield from spread(_reduced, pieces, workers)


def _reduced(whole: Once[Analysis], order: int, method: Method, own: dict[str, Any]) -> Work:
    told: dict[str, Any] = {"method": method.name, "title": method.title, "family": method.family, "order": order}
    told["parameters"] = _plain(method)
    try:
        start = time.perf_counter()
        reduction = whole.value.reduce(order, method=method, **own)
        seconds = time.perf_counter() - start
    except FAILURES as failure:
        return Work(row=Row(**told, floor=0.0, status=f"not delivered: {failure}"), finished=True)
    assert isinstance(reduction, Reduction)
    kept = reduction.diagnostics.get("kept")
    kept = None if kept is None else np.asarray(kept)
    row = Row(
        **told,
        attained=reduction.order,
        floor=float(np.max(reduction.floor)),
        bound=float(np.max(reduction.bound)),
        rounding=float(np.max(reduction.rounding)),
        last_quantity=_last_quantity(reduction.original, kept),
        seconds=seconds,
        status=reduction.status,
        kept=kept,
        poles=np.asarray(reduction.system.poles),
    )
    return Work(row=row, reduced=reduction.system, floors=np.asarray(reduction.floor))


@dataclass(frozen=True, kw_only=True)
class Norms:
    """Norms of the whole layer: the certified one (of a batch, of each channel), and in H2."""

    hinf: Bracket
    h2: NDArray[Any]

    @property
    def h2_norm(self) -> float | None:
        """Of a batch all channels together; None where it is not finite."""
        return together(self.h2)


def together(h2: NDArray[Any]) -> float | None:
    """H2 norm of all channels together; None where it is not finite."""
    total = float(np.linalg.norm(h2))
    return total if np.isfinite(total) else None


def h2_of(system: System) -> NDArray[Any]:
    """H2 norm, of a batch of each channel; NaN where it cannot be computed."""
    try:
        return np.asarray(h2_norm(system, closed_form_tol=H2_TOL), dtype=float)
    except FAILURES:
        return np.asarray(np.nan)


def certify(
    system: System,
    work: Sequence[Work],
    norms: Norms,
    rtol: float,
    workers: int | None,
    report: Callable[[int, str], None],
) -> None:
    """Fill in the errors, several at a time; methods that keep the same states share one."""
    groups: dict[bytes, list[Work]] = {}
    for i, item in enumerate(work):
        if item.reduced is not None:
            groups.setdefault(item.selection or str(i).encode(), []).append(item)
    listed, whole, done = list(groups.values()), Once(system), 0
    for number, found in spread(measured, [(whole, group[0].reduced, rtol) for group in listed], workers):
        group = listed[number]
        for item in group:
            item.row, item.finished = _with_error(item.row, found, norms, item.floors), True
        done += len(group)
        report(done, f"certified: {group[0].row.method}, order {group[0].row.order}")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One error: as a certified bracket, and its H2 norm; of a batch both for each channel."""

    hinf: Bracket
    h2: NDArray[Any]


def measured(whole: Once[System], reduced: System, rtol: float) -> Measured | str:
    """The certified error and its H2 norm, or why there is none."""
    try:
        error = error_norm(whole.value, reduced, rtol=rtol)
    except FAILURES as failure:
        return str(failure)
    return Measured(hinf=error, h2=h2_of(difference(whole.value, reduced)))


def _with_error(row: Row, found: Measured | str, norms: Norms, floors: NDArray[Any] | None) -> Row:
    if isinstance(found, str):
        return replace(row, bound=None, status=f"error not certified: {found}")
    error, norm = capped(worst(found.hinf), row.bound), worst(norms.hinf)
    if error.upper == 0:  # proved: what else was computed of it is rounding
        found = replace(found, h2=np.zeros_like(found.h2))
    notes = [] if row.status == "ok" else [row.status]
    if error.status == "open":
        notes.append(f"the error bracket is open (relative width {error.width:.1g}); both ends are true")
    h2, whole = together(found.h2), norms.h2_norm
    return replace(
        row,
        error=error,
        relative_error=relative(error, norm),
        h2_error=h2,
        relative_h2=None if h2 is None or not whole else h2 / whole,
        channels=_channels(found, float(error.upper), norms, floors),
        status="; ".join(notes) or "ok",
    )


def _channels(found: Measured, most: float, norms: Norms, floors: NDArray[Any] | None) -> dict[str, list[float]]:
    """How the channels of a batch fare, each by its own floor and norms, none above `most`; empty for one system."""
    upper = np.minimum(np.asarray(found.hinf.upper, dtype=float), most)
    if upper.ndim == 0 or floors is None:
        return {}
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "over_floor": quantiles(np.where(floors > 0, upper / floors, np.nan)),
            "relative": quantiles(upper / np.asarray(norms.hinf.lower, dtype=float)),
            "relative_h2": quantiles(np.broadcast_to(found.h2 / norms.h2, upper.shape)),
        }


def capped(error: Bracket, bound: float | None) -> Bracket:
    """The bracket with the bound as its upper end where that is smaller: the error is at most either, both are proved.

    A bound below the *lower* end is a contradiction and stays one: :mod:`ssmreduce.comparison.laws` reports it.
    """
    if bound is None or not error.lower <= bound < error.upper:
        return error
    return replace(error, upper=bound, status="closed" if bound == error.lower else error.status)


def _plain(method: Method) -> dict[str, Any]:
    """Parameters of a method as JSON has them: tuples are lists there."""
    values = {name: getattr(method, name) for name in method.parameters()}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _last_quantity(system: System, kept: NDArray[Any] | None) -> float | None:
    """LAST's eq. (3) for the removed states, square root: a score, not a bound."""
    if kept is None or kept.ndim != 1 or not isinstance(system, DiagonalStateSpace) or system.batch_shape:
        return None
    outputs = system.C if system.C_reverse is None else np.concatenate([system.C, system.C_reverse], -2) / np.sqrt(2.0)
    plain = system.replace(C=outputs, C_reverse=None, D=None)
    removed = np.setdiff1d(np.arange(system.n), kept)
    return float(np.linalg.norm(last_gains(plain)[removed]))
