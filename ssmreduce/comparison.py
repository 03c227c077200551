"""Every method at every order on one layer: certified errors, bounds, the floor, and a second opinion."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ssmreduce.layer import SSMLayer
from ssmreduce.methods import METHODS
from ssmreduce.params import as_layer_or_system
from ssmreduce.peers import response
from ssmreduce.progress import Progress, silent
from ssmreduce.reduction import Reduction, reduce
from ssmreduce.results import Comparison, Opinion, Row, worst
from ssmreduce.second_opinions import python_control_opinion, quick_sweep, witness_opinion
from theory.bracket import Bracket
from theory.errors import AccuracyError, ConvergenceError, InputError, OrderError, StabilityError, ToleranceError
from theory.hankel import hankel_singular_values
from theory.modal import last_gains
from theory.norm_difference import difference
from theory.norms import error_norm, hinf_norm
from theory.system import DiagonalStateSpace, System

FRACTIONS = (1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 7 / 8)
"""Default orders, as parts of the stored states."""

PACKAGES = ("ssmreduce", "numpy", "scipy", "control", "slycot", "cvxpy", "matplotlib")


def default_orders(n: int) -> tuple[int, ...]:
    """Up to eight orders below `n` (at least one state stays; a single state gives order 1)."""
    orders = {min(max(1, round(part * n)), max(1, n - 1)) for part in FRACTIONS}
    return tuple(sorted(orders)) if n else ()


def compare(
    layer_or_system: Any,
    methods: Sequence[str] | None = None,
    orders: Iterable[int] | None = None,
    *,
    rtol: float = 1e-3,
    crosscheck: Literal["auto", "all", "none"] = "auto",
    crosscheck_seconds: float = 15.0,
    sweep_points: int = 200,
    seed: int = 0,
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
    names = _checked_methods(methods, system)
    chosen = _checked_orders(orders, system.n)
    if crosscheck not in ("auto", "all", "none"):
        raise InputError(f"crosscheck must be 'auto', 'all' or 'none', got {crosscheck!r}")
    if not 0 < rtol < 1:
        raise ToleranceError(f"rtol must lie between 0 and 1, got {rtol}", rtol, 1e-12)
    jobs = [(order, name) for order in chosen for name in names]
    total = len(jobs) * (1 if crosscheck == "none" else 2) + 1
    report = progress or silent
    report(0, total, "norm of the layer")
    if isinstance(source, SSMLayer):
        source.require_stable()
    norm = worst(hinf_norm(system, rtol=rtol))
    hsv = np.sort(hankel_singular_values(system).ravel())[::-1]
    work: list[_Work] = []
    known: dict[bytes, Bracket] = {}
    for done, (order, name) in enumerate(jobs):
        report(done + 1, total, f"{name}, order {order}")
        work.append(_one(source, system, name, order, norm, rtol, seed, known))
    done = len(jobs) + 1
    violations = list(_violations([item.row for item in work]))
    if sweep_points:
        violations += _swept(system, work, sweep_points, seed)
    if crosscheck != "none":
        budget = np.inf if crosscheck == "all" else crosscheck_seconds
        _ask_python_control(system, work, budget, rtol, lambda i, what: report(done + i, total, what))
    rows = tuple(item.row for item in work)
    violations += [
        f"{_label(row)}: {row.crosscheck.detail}" for row in rows if row.crosscheck and row.crosscheck.in_conflict
    ]
    report(total, total, "done")
    return Comparison(
        subject=_subject(source, system),
        norm=norm,
        rows=rows,
        hsv=hsv,
        poles=system.poles,
        margin=source.margin if isinstance(source, SSMLayer) else _margin(system),
        violations=tuple(violations),
        provenance=_provenance(seed, rtol, crosscheck, sweep_points, time.perf_counter() - start),
    )


@dataclass(kw_only=True)
class _Work:
    """A row in the making, with the reduced system that it is about."""

    row: Row
    reduced: System | None = None


def _one(
    source: SSMLayer | System,
    system: System,
    name: str,
    order: int,
    norm: Bracket,
    rtol: float,
    seed: int,
    known: dict[bytes, Bracket],
) -> _Work:
    """Reduce once, and certify the error of what came out; `known` has the errors of the selections seen before."""
    title = METHODS[name].title
    floor = 0.0
    try:
        start = time.perf_counter()
        reduction = reduce(source, order=order, method=name, seed=seed)
        seconds = time.perf_counter() - start
        reduced = reduction.system
        floor = float(np.max(reduction.floor))
        kept = reduction.diagnostics.get("kept")
        kept = None if kept is None else np.asarray(kept)
        key = b"" if kept is None else np.sort(kept, axis=-1).tobytes()
        error = known.get(key) if key else None
        if error is None:
            error = worst(error_norm(system, reduced, rtol=rtol))
            known |= {key: error} if key else {}
    except (OrderError, AccuracyError, ConvergenceError, StabilityError) as failure:
        return _Work(row=Row(method=name, title=title, order=order, floor=floor, status=f"not delivered: {failure}"))
    row = Row(
        method=name,
        title=title,
        order=order,
        attained=reduction.order,
        floor=floor,
        error=error,
        relative_error=_relative(error, norm),
        bound=None if reduction.bound is None else float(np.max(reduction.bound)),
        rounding=float(np.max(reduction.rounding)),
        last_quantity=_last_quantity(system, kept),
        seconds=seconds,
        status=_status(reduction, error),
        kept=kept,
        poles=np.asarray(reduced.poles),
    )
    return _Work(row=row, reduced=reduced)


def _status(reduction: Reduction, error: Bracket) -> str:
    parts = [] if reduction.status == "ok" else [reduction.status]
    if error.status == "open":
        parts.append(f"the error bracket is open (relative width {error.width:.1g}); both ends are true")
    return "; ".join(parts) or "ok"


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


def _violations(rows: Iterable[Row]) -> Iterable[str]:
    """The two laws of every row."""
    for row in rows:
        if row.error is None:
            continue
        if row.floor > row.error.upper:
            yield f"{_label(row)}: the error {row.error.upper:.6g} is below the floor {row.floor:.6g}"
        if row.bound is not None and row.error.lower > row.bound:
            yield f"{_label(row)}: the error {row.error.lower:.6g} exceeds the bound {row.bound:.6g}"


def _swept(system: System, work: Sequence[_Work], points: int, seed: int) -> list[str]:
    """Sweep every error on one shared grid, by the route of :mod:`ssmreduce.peers`."""
    angle = np.angle(system.poles.ravel()) if system.is_discrete else system.poles.ravel().imag
    omega = np.unique(np.abs(angle) if system.is_real else angle)
    omega = (
        omega[np.unique(np.linspace(0, omega.size - 1, min(points, omega.size)).astype(int))] if omega.size else omega
    )
    top = np.pi if system.is_discrete else 2.0 * float(np.abs(system.poles).max(initial=1.0))
    omega = np.unique(np.concatenate([omega, np.linspace(0.0 if system.is_real else -top, top, points)]))
    full = response(system, omega)
    found = []
    for item in work:
        if item.reduced is None or item.row.error is None:
            continue
        attained, frequency = quick_sweep(item.reduced, omega, full, seed=seed)
        if attained > item.row.error.upper * (1 + 1e-9) + 1e-12 * float(np.abs(full).max(initial=0.0)):
            found.append(
                f"{_label(item.row)}: the sweep attains {attained:.8g} at {frequency:.6g}, above the upper end "
                f"{item.row.error.upper:.8g} of the bracket"
            )
    return found


def _ask_python_control(
    system: System, work: Sequence[_Work], budget: float, rtol: float, report: Callable[[int, str], None]
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
    done, left = 0, budget
    asked: dict[bytes, Opinion] = {}
    for group, share in ((selected, 0.5 if new else 1.0), (new, 1.0)):
        allowance = left if np.isinf(left) else left * share
        cost, size = 0.0, 1
        for item, error in group:
            done += 1
            report(done, f"python-control: {item.row.method}, order {item.row.order}")
            assert item.row.error is not None
            start = time.perf_counter()
            key = b"" if item.row.kept is None else np.sort(item.row.kept, axis=-1).tobytes()
            if key in asked:
                opinion = replace(asked[key], seconds=0.0)
            elif cost * (max(error.n, 1) / size) ** 3 <= allowance:
                opinion = python_control_opinion(error, item.row.error, rtol=rtol)
                cost, size = opinion.seconds, max(error.n, 1)
                if key:
                    asked[key] = opinion
            else:
                opinion = witness_opinion(error, item.row.error, rtol=rtol)
            spent = time.perf_counter() - start
            allowance, left = allowance - spent, left - spent
            item.row = replace(item.row, crosscheck=opinion)


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


def _label(row: Row) -> str:
    return f"{row.method}, order {row.order}"


def _margin(system: System) -> NDArray[Any]:
    if isinstance(system, DiagonalStateSpace):
        return np.asarray(system.margin)
    from theory.margin import discrete_margin

    return discrete_margin(system.poles) if system.is_discrete else np.asarray(-system.poles.real)


def _subject(source: SSMLayer | System, system: System) -> dict[str, Any]:
    margin = source.margin if isinstance(source, SSMLayer) else _margin(system)
    channels = int(np.prod(system.batch_shape)) if isinstance(system, DiagonalStateSpace) else 1
    paired = isinstance(system, DiagonalStateSpace) and system.conjugate_pairs
    subject = {
        "name": source.name if isinstance(source, SSMLayer) else "",
        "kind": source.kind.upper() if isinstance(source, SSMLayer) else type(system).__name__,
        "states": system.n,
        "real_states": 2 * system.n if paired or not system.is_real else system.n,
        "channels": channels,
        "batch": bool(isinstance(system, DiagonalStateSpace) and system.batch_shape),
        "inputs": system.m,
        "outputs": system.p,
        "dt": system.dt,
        "real": system.is_real,
        "bidirectional": bool(isinstance(system, DiagonalStateSpace) and system.is_bidirectional),
        "smallest_margin": float(margin.min()) if margin.size else None,
        "precision": str(source.dtype) if isinstance(source, SSMLayer) else "float64",
    }
    if isinstance(source, SSMLayer):
        subject |= {
            "discretization": source.discretization,
            "conj_sym": bool(source.conj_sym),
            "clip_eigs": bool(source.clip_eigs),
        }
    return subject


def _provenance(seed: int, rtol: float, crosscheck: str, sweep_points: int, seconds: float) -> dict[str, Any]:
    versions: dict[str, str] = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": seed,
        "rtol": rtol,
        "crosscheck": crosscheck,
        "sweep_points": sweep_points,
        "seconds": round(seconds, 3),
        "versions": versions,
    }
