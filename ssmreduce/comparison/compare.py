"""Every method at every order on one layer: certified errors, bounds, the floor, and a second opinion."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ssmreduce.comparison.laws import Work, ask_python_control, conflicts, swept, violated
from ssmreduce.comparison.provenance import margins, provenance, subject_of
from ssmreduce.layers.layer import SSMLayer
from ssmreduce.layers.params import as_layer_or_system
from ssmreduce.methods.registry import METHODS
from ssmreduce.progress import Progress, silent
from ssmreduce.reduction import reduce
from ssmreduce.results import Comparison, Row, worst
from theory.arithmetic.threads import blas_threads, cores, one_thread
from theory.errors import AccuracyError, ConvergenceError, InputError, OrderError, StabilityError, ToleranceError
from theory.gramians.hankel import hankel_singular_values
from theory.norms import error_norm, hinf_norm
from theory.norms.bracket import Bracket
from theory.reduction.modal_gains import last_gains
from theory.systems.system import DiagonalStateSpace, System

FRACTIONS = (1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 7 / 8)
"""Default orders, as parts of the stored states."""

MOST_THREADS = 8

FAILURES = (OrderError, AccuracyError, ConvergenceError, StabilityError)
"""What makes a row without numbers instead of an exception."""


def default_orders(n: int) -> tuple[int, ...]:
    """Up to eight orders below `n` (at least one state stays; a single state gives order 1)."""
    orders = {min(max(1, round(part * n)), max(1, n - 1)) for part in FRACTIONS}
    return tuple(sorted(orders)) if n else ()


def default_threads() -> int:
    """Threads of our own where BLAS has none: both at once are slower than either."""
    return min(cores(), MOST_THREADS) if blas_threads() == 1 else 1


@one_thread
def compare(
    layer_or_system: Any,
    methods: Sequence[str] | None = None,
    orders: Iterable[int] | None = None,
    *,
    rtol: float = 1e-3,
    crosscheck: Literal["auto", "all", "none"] = "auto",
    crosscheck_seconds: float = 15.0,
    sweep_points: int = 100,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Comparison:
    r"""Reduce one layer by every method at several orders, and say what each reduction gets wrong.

    In every row :math:`\sigma_{r+1} \le \|G-G_r\|_\infty \le` bound, with the error as a certified bracket of the
    system as written (the stored parameters of the reduced layer, in their own precision).

    Parameters
    ----------
    layer_or_system : object
        An :class:`SSMLayer`, a live layer with ``ssm_params()`` and ``ssm_options()``, a mapping of S5 parameters (with
        the options that a tree cannot tell as keywords), a :class:`StateSpace`, a :class:`DiagonalStateSpace`, or
        a python-control ``StateSpace``.
    methods : sequence of str, optional
        Names from :data:`METHODS`; all of them that fit when left out.
    orders : iterable of int, optional
        In stored states; up to eight below n when left out.
    rtol : float, keyword only
        Relative width of the error brackets.
    crosscheck : {"auto", "all", "none"}, keyword only
        "all": python-control's ``linfnorm`` on every row; "auto": on as many rows as `crosscheck_seconds` pay
        for, and the gain at the witness frequency on the others; "none": no second opinion.
    crosscheck_seconds : float, keyword only
        What "auto" may spend.
    sweep_points : int, keyword only
        Frequencies at which every error is also swept, by a route of its own, to catch a bracket that is wrong;
        0 leaves the sweep out.
    seed : int, keyword only
        For the method "random".
    threads : int, optional, keyword only
        Errors that are certified at a time; by default one for each core, up to eight. BLAS is held to one thread
        meanwhile, unless this is called from another thread than the main one.
    progress : callable, optional, keyword only
        Called as ``progress(done, total, what)``.
    **options
        For a parameter mapping: ``conj_sym``, ``discretization``, ``clip_eigs``, ``step_rescale``.

    Returns
    -------
    Comparison
        ``.rows``, ``str()``, ``.to_dict()``, ``.plot()``, ``.to_html()``. A method that cannot deliver an order gives a
        row without numbers whose status says why. A law that does not hold is listed in ``.violations``.

    Raises
    ------
    StabilityError
        A pole of the layer lies on or outside the stability boundary.
    OrderError
        An order that was asked for is no whole number in 1 ... n.
    InputError
        Unknown method, no states to remove, or input that is neither layer nor system.

    Notes
    -----
    Not certified: `seconds`, the opinions of other programs, and anything about inputs after this layer.
    """
    start = time.perf_counter()
    source = as_layer_or_system(layer_or_system, **options)
    system = source.system if isinstance(source, SSMLayer) else source
    if system.m == 0 or system.p == 0:
        raise InputError(f"a system with {system.m} inputs and {system.p} outputs has nothing to compare")
    names = _checked_methods(methods, system)
    chosen = _checked_orders(orders, system.n)
    if crosscheck not in ("auto", "all", "none"):
        raise InputError(f"crosscheck must be 'auto', 'all' or 'none', got {crosscheck!r}")
    if not 0 < rtol < 1:
        raise ToleranceError(f"rtol must lie between 0 and 1, got {rtol}", rtol, 1e-12)
    jobs = [(order, name) for order in chosen for name in names]
    total = len(jobs) * (2 if crosscheck == "none" else 3)
    report = progress or silent
    report(0, total, "norm of the layer")
    if isinstance(source, SSMLayer):
        source.require_stable()
    norm = worst(hinf_norm(system, rtol=rtol))
    hsv = np.sort(hankel_singular_values(system).ravel())[::-1]
    work = []
    for done, (order, name) in enumerate(jobs):
        report(done, total, f"reduce: {name}, order {order}")
        work.append(_reduced(source, name, order, seed))
    _certify(system, work, norm, rtol, threads, lambda i, what: report(len(jobs) + i, total, what))
    violations = violated(item.row for item in work)
    if sweep_points:
        report(2 * len(jobs), total, "independent frequency sweep")
        violations += swept(system, work, sweep_points, seed)
    if crosscheck != "none":
        budget = np.inf if crosscheck == "all" else crosscheck_seconds
        ask_python_control(system, work, budget, rtol, lambda i, what: report(2 * len(jobs) + i, total, what))
    rows = tuple(item.row for item in work)
    violations += conflicts(rows)
    report(total, total, "done")
    return Comparison(
        subject=subject_of(source, system),
        norm=norm,
        rows=rows,
        hsv=hsv,
        poles=system.poles,
        margin=margins(source),
        violations=tuple(violations),
        provenance=provenance(seed, rtol, crosscheck, sweep_points, time.perf_counter() - start),
    )


def _reduced(source: SSMLayer | System, name: str, order: int, seed: int) -> Work:
    """Reduce once; what cannot be delivered becomes a row that says so."""
    title = METHODS[name].title
    try:
        start = time.perf_counter()
        reduction = reduce(source, order=order, method=name, seed=seed)
        seconds = time.perf_counter() - start
    except FAILURES as failure:
        return Work(row=Row(method=name, title=title, order=order, floor=0.0, status=f"not delivered: {failure}"))
    kept = reduction.diagnostics.get("kept")
    kept = None if kept is None else np.asarray(kept)
    row = Row(
        method=name,
        title=title,
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
    return Work(row=row, reduced=reduction.system)


def _certify(
    system: System,
    work: Sequence[Work],
    norm: Bracket,
    rtol: float,
    threads: int | None,
    report: Callable[[int, str], None],
) -> None:
    """Fill in the errors, several at a time; methods that keep the same states share one."""
    groups: dict[bytes, list[Work]] = {}
    for i, item in enumerate(work):
        if item.reduced is not None:
            groups.setdefault(item.selection or str(i).encode(), []).append(item)
    workers = max(1, threads or default_threads())
    pool = ThreadPoolExecutor(max_workers=workers)
    try:
        tasks = {pool.submit(_error, system, group[0].reduced, rtol): group for group in groups.values()}
        done = 0
        for task in as_completed(tasks):
            group = tasks[task]
            done += len(group)
            report(done, f"certified: {group[0].row.method}, order {group[0].row.order}")
            for item in group:
                item.row = _with_error(item.row, task.result(), norm)
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
    notes = [] if row.status == "ok" else [row.status]
    if error.status == "open":
        notes.append(f"the error bracket is open (relative width {error.width:.1g}); both ends are true")
    return replace(row, error=error, relative_error=_relative(error, norm), status="; ".join(notes) or "ok")


def _relative(error: Bracket, norm: Bracket) -> Bracket:
    """Error over norm, as a bracket: the smallest and the largest quotient."""
    if error.upper == 0:
        return Bracket(0.0, 0.0, error.frequency, "closed")
    lower = error.lower / norm.upper if norm.upper > 0 else np.inf
    upper = error.upper / norm.lower if norm.lower > 0 else np.inf
    closed = error.status == norm.status == "closed"
    return Bracket(float(lower), float(upper), error.frequency, "closed" if closed else "open")


def _last_quantity(system: System, kept: NDArray[Any] | None) -> float | None:
    """LAST's eq. (3) for the removed states, square root: a score, not a bound."""
    if kept is None or kept.ndim != 1 or not isinstance(system, DiagonalStateSpace) or system.batch_shape:
        return None
    outputs = system.C if system.C_reverse is None else np.concatenate([system.C, system.C_reverse], -2) / np.sqrt(2.0)
    plain = system.replace(C=outputs, C_reverse=None, D=None)
    removed = np.setdiff1d(np.arange(system.n), kept)
    return float(np.linalg.norm(last_gains(plain)[removed]))


def _checked_methods(methods: Sequence[str] | None, system: System) -> list[str]:
    if isinstance(methods, str):
        methods = [methods]
    if methods is None:
        names = [
            name for name, method in METHODS.items() if isinstance(system, DiagonalStateSpace) or method.kind != "modal"
        ]
    else:
        names = list(dict.fromkeys(methods))
    unknown = [name for name in names if name not in METHODS]
    if unknown:
        raise InputError(f"unknown method {unknown[0]!r}; the methods are {', '.join(METHODS)}")
    if not names:
        raise InputError(f"no method was asked for; the methods are {', '.join(METHODS)}")
    return names


def _checked_orders(orders: Iterable[int] | None, n: int) -> tuple[int, ...]:
    if n == 0:
        raise InputError("this system has no states to remove: its reduction is itself")
    if orders is None:
        return default_orders(n)
    chosen = [orders] if isinstance(orders, (int, np.integer)) else list(orders)
    for order in chosen:
        if isinstance(order, bool) or int(order) != order or not 1 <= order <= n:
            raise OrderError(f"an order is a whole number from 1 to {n} (stored states), got {order!r}", int(order), n)
    if not chosen:
        raise InputError("no order was asked for")
    return tuple(sorted({int(order) for order in chosen}))
