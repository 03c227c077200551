r"""Optimal Hankel-norm approximation: no system of k states is closer in the Hankel norm.

.. math:: \|G-G_k\|_H=\sigma_{k+1}

by Glover's construction :cite:p:`G84` (:mod:`theory.reduction.glover`), as far as float64 attains it: the Hankel norm
of the error is computed from the error itself, and what misses the optimum is not taken. Discrete time goes through the
bilinear map, which keeps Gramians and Hankel values; ``D`` is no part of a Hankel operator, and stays.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from theory.arithmetic.threads import few_threads
from theory.errors import AccuracyError, OrderError, StabilityError
from theory.gramians.hankel import hankel_singular_values
from theory.reduction.balanced_truncation import _checked_order as checked_order
from theory.reduction.balanced_truncation import truncate
from theory.reduction.balancing import Balancing, Remark, Truncation, balance, real_order
from theory.reduction.bounds import hankel_floor
from theory.reduction.channels import parts, stacked
from theory.reduction.glover import balanced_dense, balanced_diagonal, to_discrete
from theory.reduction.improvement import improved
from theory.reduction.stored_states import Matrices, largest_fit
from theory.systems.difference import difference
from theory.systems.given import SystemLike, as_system
from theory.systems.system import DiagonalStateSpace, StateSpace, System, require_stable

ATTAINED = 1e-8
"""Relative to the largest Hankel value: how far from the optimum a result may be and be called optimal."""


@few_threads
def hankel_norm_approximation(
    system: SystemLike, order: int, *, balancing: Balancing | None = None, condition_limit: float = 1e8
) -> Truncation:
    r"""Approximate :math:`(A,B,C)` in the Hankel norm, optimally.

    .. math:: \sigma_1(G-G_k)=\sigma_{k+1}(G)

    where k is `order` for a dense or complex system; of conjugate pairs the most real states whose poles fit into
    `order` stored ones, up to twice as many.

    Parameters
    ----------
    system : StateSpace or DiagonalStateSpace
        Stable; discrete or continuous. A batch goes channel by channel; two directions with their outputs stacked.
    order : int
        Stored states to keep, ``0 <= order <= n``.
    balancing : Balancing, optional, keyword only
        Of the system; computed when left out.
    condition_limit : float, keyword only
        As for :func:`theory.reduction.balanced_truncation.balanced_truncation`.

    Returns
    -------
    Truncation
        ``diagnostics["states"]``: k; ``["hankel"]``: the Hankel norm of the error, computed afterwards from the error
        itself. Where it misses the optimum by more than 1e-8 of the largest value (values that nearly coincide), the
        result is balanced truncation, with a remark. ``bound``: twice the sum of the Hankel values of the error (a
        dense system: its certified norm).

    Raises
    ------
    StabilityError, OrderError, AccuracyError

    Notes
    -----
    Glover's bound holds for a feedthrough of its own, which is dense; changing it to keep D would lose more than is
    gained. Cost O(N^3) for every order.
    """
    system = as_system(system)
    shared = balance(system) if balancing is None else balancing
    order = checked_order(shared, order)
    if order in (0, system.n):
        return _told(truncate(shared, order, condition_limit), shared)
    if isinstance(system, StateSpace):
        return _dense(shared, order)
    if not system.batch_shape:
        return _diagonal(shared, order, condition_limit)
    channels = [_diagonal(part, order, condition_limit) for part in parts(shared)]
    whole = stacked(shared, channels, "Hankel-norm approximation")
    extra = {
        name: np.reshape([channel.diagnostics[name] for channel in channels], system.batch_shape)
        for name in ("hankel", "optimal")
    }
    refused = sum(not channel.diagnostics["optimal"] for channel in channels)
    remarks, status = whole.remarks, whole.status
    if refused:
        remarks = (*remarks, Remark.PARTLY_REFUSED)
        status += f"; {refused} of them by balanced truncation: the optimum is not attained in float64"
    return replace(whole, remarks=remarks, status=status, diagnostics={**whole.diagnostics, **extra})


def _told(found: Truncation, shared: Balancing) -> Truncation:
    """The ends: no states, all of them."""
    hankel = shared.hsv[..., 0] if found.order == 0 and shared.hsv.shape[-1] else np.zeros(shared.hsv.shape[:-1])
    optimal = np.ones(hankel.shape, dtype=bool)
    extra = {"hankel": hankel if hankel.ndim else float(hankel), "optimal": optimal if hankel.ndim else True}
    return replace(found, diagnostics={**found.diagnostics, **extra})


def _diagonal(shared: Balancing, order: int, condition_limit: float) -> Truncation:
    system = shared.system
    assert isinstance(system, DiagonalStateSpace)
    start = truncate(shared, order, condition_limit)
    if not start.order or not shared.hsv[0] > 0:
        return replace(start, diagnostics={**start.diagnostics, "hankel": float(shared.hsv[0]), "optimal": True})
    plant, flipped = balanced_diagonal(shared)

    def realize(k: int) -> Matrices:
        found = plant.optimal(k)
        A, B, C = to_discrete(*found, flipped) if system.is_discrete else found
        return Matrices(A, B, C, np.zeros(A.shape))

    most = min(real_order(system, order), plant.hsv.size - 1)
    failure: Exception | None = None
    try:
        fit = largest_fit(system, order, most, realize, condition_limit)
    except (OrderError, AccuracyError, StabilityError) as error:
        failure = error
    else:
        small, p = fit.diagonalization.system, system.p
        reduced = system.replace(
            poles=small.poles, B=small.B, C=small.C[:p], C_reverse=small.C[p:] if system.is_bidirectional else None
        )
        hsv = hankel_singular_values(difference(system, reduced))
        hankel = float(hsv.max(initial=0.0))
        if hankel <= shared.hsv[fit.k] + ATTAINED * shared.hsv[0]:
            found = replace(start, order=reduced.n, remarks=() if fit.failure is None else (Remark.PARTLY_REFUSED,),
                             floor=hankel_floor(shared.floor_hsv, real_order(system, reduced.n)))  # fmt: skip
            return improved(
                found, system, reduced,
                f"Hankel-norm approximation to {reduced.n} stored states ({fit.k} of {shared.hsv.size}){fit.remark}",
                hsv=hsv, states=fit.k, condition=fit.diagonalization.condition, hankel=hankel, optimal=True,
            )  # fmt: skip
    return _fallen_back(start, system, failure)


def _dense(shared: Balancing, order: int) -> Truncation:
    system = shared.system
    assert isinstance(system, StateSpace)
    start = truncate(shared, order, np.inf)
    plant = balanced_dense(shared)
    failure: Exception | None = None
    if order < plant.hsv.size:
        try:
            found = plant.optimal(order)
            A_k, B_k, C_k = to_discrete(*found, False) if system.is_discrete else found
            reduced = StateSpace(A_k, B_k, C_k, system.D, dt=system.dt)
            require_stable(reduced)
            hankel = float(hankel_singular_values(difference(system, reduced))[0])
            if reduced.n == order and hankel <= shared.hsv[order] + ATTAINED * shared.hsv[0]:
                return improved(
                    start, system, reduced, f"Hankel-norm approximation to {order} states",
                    states=order, hankel=hankel, optimal=True,
                )  # fmt: skip
        except (AccuracyError, StabilityError) as error:
            failure = error
    return _fallen_back(start, system, failure)


def _fallen_back(start: Truncation, system: System, failure: Exception | None) -> Truncation:
    reason = "the optimum is not attained in float64" if failure is None else str(failure)
    hankel = float(hankel_singular_values(difference(system, start.system)).max(initial=0.0))
    return replace(
        start, status=f"{start.status}; not the Hankel-norm approximation: {reason}",
        remarks=(*start.remarks, Remark.PARTLY_REFUSED),
        diagnostics={**start.diagnostics, "hankel": hankel, "optimal": False},
    )  # fmt: skip
