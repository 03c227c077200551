"""Every method at every order on one layer: certified errors, bounds, the floor, and a second opinion."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ssmreduce.analysis import analyze
from ssmreduce.comparison.comparison import Comparison, ComparisonInterrupted
from ssmreduce.comparison.laws import conflicts, swept, violated
from ssmreduce.comparison.provenance import provenance, subject_of
from ssmreduce.comparison.python_control import ask_python_control
from ssmreduce.comparison.work import Norms, Work, certify, h2_of, reduced
from ssmreduce.curves import margins
from ssmreduce.layers.layer import SSMLayer
from ssmreduce.layers.params import as_layer_or_system
from ssmreduce.methods.registry import METHODS, Method
from ssmreduce.parallel import workers
from ssmreduce.progress import Progress, silent
from ssmreduce.reduction import data_for
from ssmreduce.results import QUANTILES, worst
from theory.arithmetic.threads import one_thread
from theory.errors import InputError, OrderError, ToleranceError
from theory.systems.system import System

FRACTIONS = (1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 7 / 8)
"""Default orders, as parts of the stored states."""


def default_orders(n: int) -> tuple[int, ...]:
    """Up to eight orders below `n` (at least one state stays; a single state gives order 1)."""
    orders = {min(max(1, round(part * n)), max(1, n - 1)) for part in FRACTIONS}
    return tuple(sorted(orders)) if n else ()


@one_thread
def compare(
    layer_or_system: Any,
    methods: Sequence[str | Method] | None = None,
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
    methods : sequence of str or Method, optional
        Names from :data:`METHODS`, or values as ``Balanced(condition_limit=1e12)``; all registered ones that apply
        and do not search for seconds when left out.
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
        Reductions, and then errors, that are worked on at a time; by default what ``joblib.parallel_config`` says, and
        without one a thread for each core, up to eight. BLAS is held to one thread meanwhile, unless this is called
        from another thread than the main one.
    progress : callable, optional, keyword only
        Called as ``progress(done, total, what)``.
    **options
        For a parameter mapping: ``conj_sym``, ``discretization``, ``clip_eigs``, ``step_rescale``; and what methods
        take, by the names in their ``takes``.

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
        An order that was asked for is no whole number in 0 ... n.
    InputError
        Unknown method, no states to remove, or input that is neither layer nor system.
    ComparisonInterrupted
        A KeyboardInterrupt that came after the first error was certified; carries the rows that are ``finished``.

    Notes
    -----
    Not certified: `seconds`, H2 errors, the opinions of other programs, and anything about inputs after this layer.

    ``with joblib.parallel_config(backend="dask"):`` (or any other backend of joblib) around this call sends reductions
    and certificates to a cluster; each worker balances the layer once.
    """
    start = time.perf_counter()
    asked = _asked_methods(methods)
    data, rest = data_for(list(METHODS.values()) if asked is None else asked, options)
    source = as_layer_or_system(layer_or_system, **rest)
    system = source.system if isinstance(source, SSMLayer) else source
    if system.m == 0 or system.p == 0:
        raise InputError(f"a system with {system.m} inputs and {system.p} outputs has nothing to compare")
    apply = _fitting(source, data) if asked is None else asked
    fitting = [method for method in apply if not method.searches] if asked is None else asked
    unasked = ", ".join(method.name for method in apply if method not in fitting)
    chosen = _checked_orders(orders, system.n)
    if crosscheck not in ("auto", "all", "none"):
        raise InputError(f"crosscheck must be 'auto', 'all' or 'none', got {crosscheck!r}")
    if not 0 < rtol < 1:
        raise ToleranceError(f"rtol must lie between 0 and 1, got {rtol}", rtol, 1e-12)
    jobs = [(order, method) for order in chosen for method in fitting]
    jobs.sort(key=lambda job: (job[1].searches, job[0]))  # quick ones first: they are there if someone gives up
    total = len(jobs) * (2 if crosscheck == "none" else 3)
    report = progress or silent
    report(0, total, "norm of the layer")
    analysis = analyze(source, fitting, rtol=rtol)
    subject, margin = subject_of(source, system), margins(source)
    norms = Norms(hinf=analysis.norm, h2=h2_of(system))
    work: dict[int, Work] = {}
    violations: list[str] = []

    def done() -> list[Work]:
        return [work[i] for i in sorted(work, key=lambda i: (jobs[i][0], fitting.index(jobs[i][1])))]

    def found(**told: Any) -> Comparison:
        rows = tuple(item.row for item in done() if item.finished)
        return Comparison(
            subject=subject,
            norm=worst(norms.hinf),
            h2_norm=norms.h2_norm,
            rows=rows,
            hsv=np.sort(analysis.hsv.ravel())[::-1],
            hsv_channels=_over_channels(analysis.hsv),
            poles=system.poles,
            margin=margin,
            violations=(*violated(rows), *violations, *conflicts(rows)),
            provenance=provenance(seed, rtol, crosscheck, sweep_points, time.perf_counter() - start)
            | {"methods": "all that apply and do not search" if asked is None else "as asked for"}
            | ({"not_run": unasked} if unasked else {})
            | told,
        )

    try:
        many = workers(threads)
        for number, item in reduced(analysis, jobs, {**data, "seed": seed}, many):
            work[number] = item
            left = dict.fromkeys(method.name for i, (_, method) in enumerate(jobs) if i not in work)
            report(len(work) - 1, total, f"reducing by {', '.join(left)}" if left else "reduced")
        certify(system, done(), norms, rtol, many, lambda i, what: report(len(jobs) + i, total, what))
        if sweep_points:
            report(2 * len(jobs), total, "independent frequency sweep")
            violations += swept(system, done(), sweep_points, seed, many)
        if crosscheck != "none":
            budget = np.inf if crosscheck == "all" else crosscheck_seconds
            ask_python_control(system, done(), budget, lambda i, what: report(2 * len(jobs) + i, total, what))
    except KeyboardInterrupt:
        certified = sum(item.finished and item.reduced is not None for item in done())
        if not certified:
            raise
        told = (
            f"{certified} of {len(jobs)} errors had been certified; the sweep or other programs may not have seen them"
        )
        raise ComparisonInterrupted(found(interrupted=told)) from None
    report(total, total, "done")
    return found()


def _asked_methods(methods: Sequence[str | Method] | None) -> list[Method] | None:
    """Values of the methods that were asked for, each once; None where that was left open."""
    if methods is None:
        return None
    listed = [methods] if isinstance(methods, (str, Method)) else methods
    chosen = list({method.name: method for method in map(METHODS.find, listed)}.values())
    if not chosen:
        raise InputError(f"no method was asked for; the methods are {', '.join(METHODS)}")
    return chosen


def _fitting(source: SSMLayer | System, data: Mapping[str, Any]) -> list[Method]:
    """Registered methods that apply to this layer and have the data that they require."""
    found = []
    for method in METHODS.values():
        try:
            method.applies(source)
        except InputError:
            continue
        if data.keys() >= set(method.requires):
            found.append(method)
    return found


def _checked_orders(orders: Iterable[int] | None, n: int) -> tuple[int, ...]:
    if n == 0:
        raise InputError("this system has no states to remove: its reduction is itself")
    if orders is None:
        return default_orders(n)
    chosen = [orders] if isinstance(orders, (int, np.integer)) else list(orders)
    for order in chosen:
        if isinstance(order, bool) or int(order) != order or not 0 <= order <= n:
            raise OrderError(f"an order is a whole number from 0 to {n} (stored states), got {order!r}", int(order), n)
    if not chosen:
        raise InputError("no order was asked for")
    return tuple(sorted({int(order) for order in chosen}))


def _over_channels(hsv: NDArray[Any]) -> NDArray[Any]:
    """How the Hankel singular values of one channel are distributed over the channels of a batch."""
    channels = hsv.reshape(-1, hsv.shape[-1])
    if hsv.ndim == 1 or not channels.size:
        return np.zeros((len(QUANTILES), 0))
    return np.asarray(np.quantile(channels, QUANTILES, axis=0))
