"""Rows in the making: each method reduces at each order, then the errors are certified, several at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssmreduce.layers.layer import SSMLayer
from ssmreduce.methods.registry import Method
from ssmreduce.reduction import reduce
from ssmreduce.results import Row, relative, worst
from theory.errors import AccuracyError, ConvergenceError, OrderError, StabilityError
from theory.norms import error_norm
from theory.norms.bracket import Bracket
from theory.reduction.modal_gains import last_gains
from theory.systems.system import DiagonalStateSpace, System

FAILURES = (OrderError, AccuracyError, ConvergenceError, StabilityError)
"""What makes a row without numbers instead of an exception."""


@dataclass(kw_only=True)
class Work:
    """A row in the making, with the reduced system that it is about."""

    row: Row
    reduced: System | None = None
    finished: bool = False

    @property
    def selection(self) -> bytes:
        """The same for methods that keep the same stored states; empty for methods that make new ones."""
        kept = self.row.kept
        return b"" if kept is None else np.sort(kept, axis=-1).tobytes()


def reduced(
    source: SSMLayer | System, jobs: Sequence[tuple[int, Method]], seed: int, data: Mapping[str, Any]
) -> Iterator[Work]:
    """Reduce `source` once for each (order, method); what cannot be delivered becomes a row that says so."""
    for order, method in jobs:
        told: dict[str, Any] = {"method": method.name, "title": method.title, "parameters": _plain(method)}
        own = {key: value for key, value in data.items() if key in method.takes}
        try:
            start = time.perf_counter()
            reduction = reduce(source, order=order, method=method, seed=seed, **own)
            seconds = time.perf_counter() - start
        except FAILURES as failure:
            row = Row(**told, order=order, floor=0.0, status=f"not delivered: {failure}")
            yield Work(row=row, finished=True)
            continue
        kept = reduction.diagnostics.get("kept")
        kept = None if kept is None else np.asarray(kept)
        row = Row(
            **told,
            order=order,
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
        yield Work(row=row, reduced=reduction.system)


def certify(
    system: System,
    work: Sequence[Work],
    norm: Bracket,
    rtol: float,
    workers: int,
    report: Callable[[int, str], None],
) -> None:
    """Fill in the errors, several at a time; methods that keep the same states share one."""
    groups: dict[bytes, list[Work]] = {}
    for i, item in enumerate(work):
        if item.reduced is not None:
            groups.setdefault(item.selection or str(i).encode(), []).append(item)
    pool = ThreadPoolExecutor(max_workers=workers)
    try:
        tasks = {pool.submit(_error, system, group[0].reduced, rtol): group for group in groups.values()}
        done = 0
        for task in as_completed(tasks):
            group = tasks[task]
            for item in group:
                item.row, item.finished = _with_error(item.row, task.result(), norm), True
            done += len(group)
            report(done, f"certified: {group[0].row.method}, order {group[0].row.order}")
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _error(system: System, reduced: System | None, rtol: float) -> Bracket | str:
    """The certified error, or why there is none."""
    try:
        return worst(error_norm(system, reduced, rtol=rtol)) if reduced is not None else ""
    except FAILURES as failure:
        return str(failure)


def _with_error(row: Row, error: Bracket | str, norm: Bracket) -> Row:
    if isinstance(error, str):
        return replace(row, bound=None, status=f"error not certified: {error}")
    error = capped(error, row.bound)
    notes = [] if row.status == "ok" else [row.status]
    if error.status == "open":
        notes.append(f"the error bracket is open (relative width {error.width:.1g}); both ends are true")
    return replace(row, error=error, relative_error=relative(error, norm), status="; ".join(notes) or "ok")


def capped(error: Bracket, bound: float | None) -> Bracket:
    """The bracket with the bound as its upper end where that is smaller: the error is at most either, both are proved.

    A bound below the *lower* end is a contradiction and stays one: :mod:`ssmreduce.comparison.laws` reports it.
    """
    if bound is None or not error.lower <= bound < error.upper:
        return error
    return replace(error, upper=bound)


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
