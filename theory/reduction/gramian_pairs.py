r"""Balanced truncation of any pair of Gramians: time-limited ones, recorded ones, or one of each.

With :math:`P=L_PL_P^*`, :math:`Q=L_QL_Q^*` and :math:`L_Q^*L_P=U\Sigma V^*` the projection is that of balanced
truncation :cite:p:`LHPW87`. **If Q satisfies** :math:`Q-A^*QA=M\succ0`, **the reduced system is stable for every**
:math:`P\succ0`: in the balanced coordinates :math:`\Sigma=\mathrm{diag}(\Sigma_1,\Sigma_2)` stands for Q, the leading
block of the equation reads

.. math:: \Sigma_1-A_{11}^*\Sigma_1A_{11}=M_{11}+A_{21}^*\Sigma_2A_{21}\succ0,

and :math:`\Sigma_1\succ0`, so every eigenvalue of :math:`A_{11}` lies inside the circle (Stein). The exact Q with
:math:`\epsilon I` added is such a Q in modal coordinates, where :math:`I-A^*A\succ0`: it makes the inequality strict.
Nothing like the a-priori bound of balanced truncation holds for such a pair; the bound here is that of
:mod:`theory.reduction.a_posteriori`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.errors import AccuracyError, DimensionError, InputError, StabilityError
from theory.gramians.gramians import gramians
from theory.reduction.a_posteriori import error_bound
from theory.reduction.balanced_truncation import truncate
from theory.reduction.balancing import Balancing, Remark, Truncation, balance, real_order
from theory.reduction.bounds import hankel_floor
from theory.systems.given import SystemLike, as_system
from theory.systems.system import DiagonalStateSpace, require_stable

Array = NDArray[Any]

REGULARIZATION = 1e-9
"""Of the trace of a Gramian, added to its diagonal: directions that are excited (seen) less than that are rounding of
the record. 1e-12 left poles of modulus 1.01 on trained layers, 1e-9 none."""


def pair_truncation(
    system: SystemLike,
    order: int,
    P: Array,
    Q: Array | None = None,
    *,
    regularization: float = REGULARIZATION,
    condition_limit: float = 1e8,
    balancing: Balancing | None = None,
    bounds: bool = True,
    fall_back: bool = True,
) -> Truncation:
    r"""Truncate the realization in which `P` and `Q` are equal and diagonal.

    Parameters
    ----------
    system : DiagonalStateSpace
        Stable; one system or a batch.
    order : int
        Stored states to keep, ``0 <= order <= n``.
    P, Q : ndarray, shape (..., N, N)
        Hermitian positive semidefinite, in the coordinates of :func:`theory.gramians.gramians.gramians`. The exact
        observability Gramian where Q is left out: then the result is stable whatever P is. Systems that another Q
        makes unstable take the exact one, and the status says so.
    regularization : float, keyword only
        Relative to the trace of each, added to its diagonal after every mode was scaled to
        :math:`P_{ii}=Q_{ii}`.
    condition_limit : float, keyword only
        As for :func:`theory.reduction.balanced_truncation.balanced_truncation`.
    balancing : Balancing, optional, keyword only
        Of the exact Gramians, for `hsv` and `floor`; computed when left out.
    bounds : bool, keyword only
        ``False`` leaves out the bound (infinite) and the floor (zero), which cost more than the truncation: for a
        search over many orders.
    fall_back : bool, keyword only
        ``False`` refuses a pair that makes a system unstable instead of taking the exact Q.

    Returns
    -------
    Truncation
        ``hsv`` are the Hankel singular values of the system; ``diagnostics["pair"]`` those of the pair;
        ``bound`` is the a-posteriori one.

    Raises
    ------
    StabilityError, OrderError, AccuracyError, DimensionError, InputError
    """
    system = as_system(system, diagonal=True)
    require_stable(system)
    P = _checked("P", P, system)
    exact_Q = gramians(system)[1]
    Q = exact_Q if Q is None else _checked("Q", Q, system)
    found, values, fallen = _truncated(system, order, P, Q, exact_Q, regularization, condition_limit, fall_back)
    status = found.status.replace("balanced truncation", "truncation of the pair")
    remarks = found.remarks
    if fallen:
        remarks = (*remarks, Remark.PARTLY_REFUSED)
        status += (
            f"; {fallen} of {P[..., 0, 0].size} systems took the exact observability Gramian, unstable with the other"
        )
    if not bounds:
        return replace(found, bound=0.0 * found.bound + np.inf, floor=0.0 * found.floor, status=status, remarks=remarks)
    exact = balance(system) if balancing is None else balancing
    if found.order == system.n and not fallen:
        return replace(found, hsv=exact.hsv)
    return replace(
        found, hsv=exact.hsv, bound=error_bound(system, found.system),
        floor=hankel_floor(exact.floor_hsv, real_order(system, found.order)), status=status, remarks=remarks,
        diagnostics={**found.diagnostics, "pair": values},
    )  # fmt: skip


def _truncated(
    system: DiagonalStateSpace, order: int, P: Array, Q: Array, exact_Q: Array, regularization: float, limit: float,
    fall_back: bool,
) -> tuple[Truncation, Array, int]:  # fmt: skip
    """The truncation, the singular values of the pair, and how many systems had to fall back on the exact Q."""

    def attempt(one: DiagonalStateSpace, P: Array, Q: Array) -> tuple[Truncation, Array]:
        left, values, right = pair_factors(one, P, Q, regularization)
        pair = Balancing(system=one, hsv=values, floor_hsv=values, left=left, right=right)
        return truncate(pair, order, limit), values

    try:
        return *attempt(system, P, Q), 0
    except (StabilityError, AccuracyError) as error:
        if Q is exact_Q:
            raise
        if not fall_back:
            raise refusal(error, order) from error
    mixed, fallen = np.array(Q), 0
    for index in np.ndindex(system.batch_shape):
        try:
            attempt(system[index] if index else system, P[index], Q[index])
        except (StabilityError, AccuracyError):
            mixed[index], fallen = exact_Q[index], fallen + 1
    return *attempt(system, P, mixed), fallen


def refusal(error: StabilityError | AccuracyError, order: int) -> StabilityError | AccuracyError:
    """Return the same error, with what to do about a pair."""
    if isinstance(error, AccuracyError):
        return error
    return StabilityError(
        f"no truncation of this pair of Gramians to {order} states is stable; with the exact Gramian on one "
        "side it is: change one side only, or choose another order",
        error.poles,
        error.margin,
    )


def pair_factors(system: DiagonalStateSpace, P: Array, Q: Array, regularization: float) -> tuple[Array, Array, Array]:
    """``L_Q U``, the singular values of ``L_Q^* L_P``, and ``L_P V``, of the regularized pair."""
    if not 0 < regularization < 1:
        raise InputError(f"the regularization must lie between 0 and 1, got {regularization}")
    p, q = (np.diagonal(G, axis1=-2, axis2=-1).real for G in (P, Q))
    if system.conjugate_pairs:  # one factor for the real and the imaginary part of a mode: A stays normal
        p, q = (np.tile(part[..., : system.n] + part[..., system.n :], 2) for part in (p, q))
    alive = (p > 0) & (q > 0)
    d = np.where(alive, (np.where(alive, p, 1.0) / np.where(alive, q, 1.0)) ** 0.25, 1.0)
    Lp = d[..., :, None] * _factor(P / d[..., :, None] / d[..., None, :], regularization)
    Lq = _factor(Q * d[..., :, None] * d[..., None, :], regularization) / d[..., :, None]
    U, values, Vh = np.linalg.svd(np.swapaxes(Lq, -1, -2).conj() @ Lp)
    return Lq @ U, values, Lp @ np.swapaxes(Vh, -1, -2).conj()


def _factor(G: Array, regularization: float) -> Array:
    """Lower triangular factor of ``G + regularization trace(G) I``, or of its semidefinite part where G is not."""
    k = G.shape[-1]
    trace = np.trace(G, axis1=-2, axis2=-1).real[..., None, None]
    moved = G + np.maximum(regularization * trace, np.finfo(float).tiny) * np.eye(k)
    try:
        return np.linalg.cholesky(moved)
    except np.linalg.LinAlgError:  # a record that lost more than the regularization to rounding
        values, vectors = np.linalg.eigh(moved)
        return np.asarray(vectors * np.sqrt(np.maximum(values, regularization * trace[..., 0]))[..., None, :])


def _checked(name: str, G: Array, system: DiagonalStateSpace) -> Array:
    array = np.asarray(G)
    N = (2 if system.conjugate_pairs else 1) * system.n
    if array.shape != (*system.batch_shape, N, N):
        raise DimensionError(f"{name} must have shape {(*system.batch_shape, N, N)}", **{name: array.shape})
    if not np.isfinite(array).all():
        raise InputError(f"{name} has entries that are not finite")
    return np.asarray(0.5 * (array + np.swapaxes(array, -1, -2).conj()))
