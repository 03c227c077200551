"""The reduction methods by name: adding one is one line of :data:`METHODS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ssmreduce.methods.scores import Scored, hinf_scores, last_scores, magnitude_scores, random_scores, top
from theory.arithmetic.rounding import EPS
from theory.errors import InputError, OrderError, ToleranceError
from theory.reduction.balanced_truncation import balanced_truncation
from theory.reduction.balancing import Balancing, Truncation, balance
from theory.reduction.bounds import hankel_floor
from theory.reduction.modal_gains import modal_gain_bounds
from theory.systems.system import DiagonalStateSpace, StateSpace, System

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to reduce.

    Attributes
    ----------
    name, title, summary : str
        Key, heading, and one sentence.
    kind : {"projection", "modal"}
        "projection" makes new states; "modal" keeps some of the stored ones, bit for bit (diagonal systems only).
    reduce : callable
        ``reduce(system, order=None, rtol=None, seed=0) -> Truncation``; either `order` or `rtol`.
    score : callable or None
        Of a modal method: ``score(layer_or_system, seed)``, larger is kept.
    allocation : str
        How :func:`ssmreduce.reduce_model` spreads the states over layers for this method, unless told otherwise.
    """

    name: str
    title: str
    kind: Literal["projection", "modal"]
    summary: str
    reduce: Callable[..., Truncation]
    score: Callable[[Scored, int], Array] | None = None
    allocation: str = "uniform"


@lru_cache(maxsize=8)  # the layers of a model: their budget is spread first, then they are reduced
def shared(system: System) -> Balancing:
    """Return what all methods and orders of one system share: Hankel singular values, and the balancing factors."""
    return balance(system)


def _balanced(system: System, order: int | None = None, rtol: float | None = None, seed: int = 0) -> Truncation:
    if order is not None:
        checked_order(order, system.n)
    return balanced_truncation(system, order=order, rtol=rtol, balancing=shared(system))


def keep_best(
    source: Scored,
    score: Callable[[Scored, int], Array],
    order: int | None = None,
    rtol: float | None = None,
    seed: int = 0,
) -> Truncation:
    """Keep the states with the largest score: `order` of them, or the fewest whose bound is at most rtol sigma_1.

    In a batch every channel keeps its own best. ``.diagnostics["kept"]`` has their indices.

    Raises
    ------
    StabilityError, OrderError, ToleranceError, InputError
    """
    system = source if isinstance(source, (DiagonalStateSpace, StateSpace)) else source.system
    if not isinstance(system, DiagonalStateSpace):
        raise InputError(
            "modal methods keep stored poles, so they need a diagonal system; "
            "theory.reduction.diagonalization.rediagonalize gives one"
        )
    if (order is None) == (rtol is None):
        raise InputError("give either order or rtol")
    if order is not None:
        checked_order(order, system.n)
    values = score(source, seed)
    if order is None:
        order = _smallest_order(system, values, float("nan") if rtol is None else rtol)
    return _keep(system, top(values, order))


def checked_order(order: Any, n: int) -> int:
    """Accept a whole number from 1 to `n`."""
    if isinstance(order, (bool, np.bool_)) or not isinstance(order, (int, np.integer)):
        raise InputError(f"order must be a whole number, got {order!r}")
    if not 1 <= order <= n:
        raise OrderError(f"order must be between 1 and {n} (stored states), got {order}", int(order), n)
    return int(order)


def _smallest_order(system: DiagonalStateSpace, values: Array, rtol: float) -> int:
    """Fewest states such that the bounds of the others sum to at most rtol sigma_1, in every channel."""
    if not rtol >= 0:
        raise ToleranceError(f"rtol must be a number >= 0, got {rtol}", rtol, 0.0)
    ranked = np.take_along_axis(modal_gain_bounds(system), np.argsort(values, axis=-1, kind="stable"), axis=-1)
    goal = rtol * shared(system).hsv[..., :1]
    removable: Array = (np.cumsum(ranked, axis=-1) * (1 + 1e-12) <= goal).sum(axis=-1)
    return max(1, int(system.n) - int(removable.min(initial=system.n)))


def _keep(system: DiagonalStateSpace, kept: Array) -> Truncation:
    """Modal truncation with shared work, and in a batch with one row of indices a channel."""
    balancing, order = shared(system), kept.shape[-1]
    gone = np.ones(system.poles.shape, dtype=bool)
    np.put_along_axis(gone, kept, False, axis=-1)
    rounding = 1.0 + (system.n + system.m + system.p + 16) * EPS
    bound = np.where(gone, modal_gain_bounds(system), 0.0).sum(axis=-1) * rounding
    return Truncation(
        system=take(system, kept) if gone.any() else system,
        order=order,
        hsv=balancing.hsv,
        bound=bound if system.batch_shape else float(bound),
        floor=hankel_floor(balancing.floor_hsv, 2 * order if system.conjugate_pairs else order),
        status=f"modal truncation to {order} of {system.n} stored states",
        diagnostics={"kept": kept},
    )


def take(system: DiagonalStateSpace, index: Array) -> DiagonalStateSpace:
    """Return the states `index` (..., r) of every system of a batch."""
    reverse = system.C_reverse
    return system.replace(
        poles=np.take_along_axis(system.poles, index, axis=-1),
        B=np.take_along_axis(system.B, index[..., :, None], axis=-2),
        C=np.take_along_axis(system.C, index[..., None, :], axis=-1),
        C_reverse=None if reverse is None else np.take_along_axis(reverse, index[..., None, :], axis=-1),
    )


def modal(
    name: str, title: str, score: Callable[[Scored, int], Array], summary: str, allocation: str = "uniform"
) -> Method:
    """Make a method of a score."""

    def reduce(system: System, order: int | None = None, rtol: float | None = None, seed: int = 0) -> Truncation:
        return keep_best(system, score, order, rtol, seed)  # type: ignore[arg-type]

    return Method(
        name=name, title=title, kind="modal", summary=summary, reduce=reduce, score=score, allocation=allocation
    )


_ALL = (
    Method(
        name="balanced",
        title="balanced truncation",
        kind="projection",
        summary="Keeps the states that are both reached and seen; error at most twice the sum of the truncated hsv.",
        reduce=_balanced,
        allocation="hsv",
    ),
    modal(
        "modal",
        "modal, exact gain",
        lambda source, seed: hinf_scores(source),
        "Keeps the poles with the largest exact H-infinity gain.",
        "hinf",
    ),
    modal(
        "last",
        "LAST score",
        lambda source, seed: last_scores(source),
        "Keeps the poles with the largest LAST score as in the paper.",
        "last",
    ),
    modal(
        "last_released",
        "LAST score, released code",
        lambda source, seed: last_scores(source, "released"),
        "Keeps the poles with the largest LAST score as the released code computes it.",
        "last_released",
    ),
    modal(
        "magnitude",
        "magnitude",
        lambda source, seed: magnitude_scores(source),
        "Keeps the poles with the largest |pole| |b| |c|.",
    ),
    modal("random", "random", random_scores, "Keeps poles at random: what any criterion should beat."),
)

METHODS: Mapping[str, Method] = {method.name: method for method in _ALL}
