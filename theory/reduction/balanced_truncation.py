r"""Balanced truncation: fewer states, and a bound on what the transfer function loses."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.rounding import EPS
from theory.errors import AccuracyError, InputError, OrderError, StabilityError, ToleranceError
from theory.gramians.gramians import stacked_output
from theory.reduction.balancing import Balancing, Remark, Truncation, balance, real_order
from theory.reduction.bounds import balanced_bound, hankel_floor
from theory.reduction.channels import parts, stacked
from theory.reduction.dense_truncation import project, require_reduced_stable, truncate_dense
from theory.reduction.diagonalization import diagonalize
from theory.reduction.modal_truncation import modal_truncation
from theory.systems.given import SystemLike, as_system
from theory.systems.pairs import real_input, real_output, real_state_times
from theory.systems.system import DiagonalStateSpace, StateSpace, System

Array = NDArray[Any]

MANY = 200
"""Real states above which not every number is tried: without one, two more real poles may have met, so that a block
needs two stored states less."""


def balanced_truncation(
    system: SystemLike,
    order: int | None = None,
    rtol: float | None = None,
    *,
    balancing: Balancing | None = None,
    condition_limit: float = 1e8,
) -> Truncation:
    r"""Truncate the balanced realization of a stable system.

    Finds :math:`G_r` with

    .. math:: \sigma_{k+1}\le\|G-G_r\|_\infty\le2\sum_{i>k}\sigma_i

    where `k` is the number of states kept: `order` for a dense or complex system, up to 2 `order` for conjugate pairs.
    :cite:p:`A05` (Thm 7.9) for continuous time, :cite:p:`HP90` for discrete time.

    Parameters
    ----------
    system : StateSpace or DiagonalStateSpace
        Stable. A diagonal system gives a diagonal system: the balanced one is re-diagonalized, a pair of complex poles
        takes one stored state and so does a real pole; the most real states whose poles fit into `order` stored ones
        are kept (of more than 200 real states perhaps a few less: not every number is tried). ``delay=0``:
        ``(poles, B, C)`` are reduced, ``D`` and the delay kept. Bidirectional: both directions together, outputs
        stacked, and the bound doubles. A batch keeps its axes; channels that need fewer states than `order` are filled
        up with states of zero gain.
    order : int, optional
        Stored states to keep, ``0 <= order <= n``; ``n`` returns the system itself, 0 its feedthrough alone.
    rtol : float, optional
        Instead of `order`: the smallest order, at least 1, whose bound is at most `rtol` times :math:`\sigma_1` (of
        every channel of a batch), hence also at most `rtol` times the norm.
    balancing : Balancing, optional, keyword only
        From :func:`theory.reduction.balancing.balance`, to share the work between orders.
    condition_limit : float, keyword only
        Largest eigenvector condition number that re-diagonalization accepts; see
        :func:`theory.reduction.diagonalization.diagonalize`.

    Returns
    -------
    Truncation

    Raises
    ------
    StabilityError
        A pole lies on or outside the boundary.
    OrderError
        `order` is negative, more than ``n``, or more than the states numerically present
        (:math:`\sigma_i>N\varepsilon\sigma_1`); carries the attainable order.
    ToleranceError
        `rtol` is negative.
    AccuracyError
        Re-diagonalization is too ill-conditioned at this order; or the Gramians, or the error, of a dense system cannot
        be proved.

    Notes
    -----
    Square-root form, singular values of ``Lo^H Lc`` :cite:p:`LHPW87`; the Gramians are never formed.
    Diagonal systems: the bound is proved in exact arithmetic; its allowance for rounding and re-diagonalization, in
    ``.diagnostics``, is of first order. Dense systems: the bound is proved for the system as written
    (:mod:`theory.reduction.dense_truncation`), which takes about as long as its certified error. The certified error of
    the written system is :func:`theory.norms.error_norm`. Not certified: that the order is the smallest possible.
    Cost O(N^3) time, O(N^2) memory.
    """
    system = as_system(system)
    if (order is None) == (rtol is None):
        raise InputError("give either order or rtol")
    shared = balance(system) if balancing is None else balancing
    if shared.system is not system:
        raise InputError("the balancing belongs to another system")
    if order is not None:
        return truncate(shared, _checked_order(shared, order), condition_limit)
    if rtol is None or not rtol >= 0:
        raise ToleranceError(f"rtol must be a number >= 0, got {rtol}", float("nan") if rtol is None else rtol, 0.0)
    goal = rtol * (shared.hsv[..., 0] if shared.hsv.shape[-1] else 0.0)
    for candidate in range(1, min(system.n, _attainable(shared) + 1)):
        if np.any(balanced_bound(shared.hsv, real_order(system, candidate), directions=_directions(system)) > goal):
            continue
        try:
            found = truncate(shared, candidate, condition_limit)
        except (AccuracyError, StabilityError):
            continue
        if np.all(found.bound <= goal):
            return found
    return truncate(shared, system.n, condition_limit)


def _directions(system: System) -> int:
    return 2 if isinstance(system, DiagonalStateSpace) and system.is_bidirectional else 1


def _present(hsv: Array) -> Array:
    """Number of states numerically present, (...)."""
    if hsv.shape[-1] == 0:
        return np.zeros(hsv.shape[:-1], dtype=int)
    return (hsv > hsv.shape[-1] * EPS * hsv[..., :1]).sum(-1)  # type: ignore[no-any-return]


def _attainable(shared: Balancing) -> int:
    present = int(_present(shared.hsv).max(initial=0))
    return int((present + 1) // 2) if real_order(shared.system, 1) == 2 else present


def _checked_order(shared: Balancing, order: int) -> int:
    if isinstance(order, bool) or not isinstance(order, (int, np.integer)):
        raise InputError(f"order must be an integer, got {order!r}")
    n, attainable = shared.system.n, _attainable(shared)
    if order == n:
        return int(n)
    if order < 0 or order > n:
        raise OrderError(f"order must be between 0 and {n}, got {order}", int(order), n)
    if order > attainable:
        raise OrderError(
            f"order {order} asked, but only {attainable} states are numerically present "
            f"(the others have Hankel singular values below N eps sigma_1); ask for at most {attainable}, or all {n}",
            int(order),
            attainable,
        )
    return int(order)


def truncate(shared: Balancing, order: int, condition_limit: float) -> Truncation:
    """Project on the leading part of a balancing, of the Gramians or any other pair; `order` is known to be there."""
    system = shared.system
    if order == system.n:
        zero = np.zeros(shared.hsv.shape[:-1])
        nothing = zero if zero.ndim else 0.0
        return Truncation(
            system=system, order=order, hsv=shared.hsv, bound=nothing, floor=nothing,
            status="all states kept: the system itself",
            diagnostics={"states": shared.hsv.shape[-1], "perturbation": nothing},
        )  # fmt: skip
    if order == 0:
        return _feedthrough(shared)
    if isinstance(system, StateSpace):
        return truncate_dense(shared, order)
    if not system.batch_shape:
        return _truncate_diagonal(shared, order, condition_limit)
    channels = [_truncate_diagonal(part, order, condition_limit) for part in parts(shared)]
    return stacked(shared, channels)


def _feedthrough(shared: Balancing) -> Truncation:
    """All states truncated: ``y = D u``; the bound is that of balanced truncation with nothing kept."""
    system = shared.system
    static: System
    if isinstance(system, StateSpace):
        static = StateSpace(system.A[:0, :0], system.B[:0], system.C[:, :0], system.D, dt=system.dt)
    else:
        static = system.keep([])
    shape = shared.hsv.shape[:-1]
    nothing = {"states": np.zeros(shape, dtype=int), "perturbation": np.zeros(shape)}
    return Truncation(
        system=static, order=0, hsv=shared.hsv,
        bound=balanced_bound(shared.ceiling_hsv, 0, directions=_directions(system)),
        floor=hankel_floor(shared.floor_hsv, 0), status="balanced truncation to no states: the feedthrough",
        diagnostics=nothing if shape else {"states": 0, "perturbation": 0.0},
    )  # fmt: skip


def _truncate_diagonal(shared: Balancing, order: int, condition_limit: float) -> Truncation:
    """One system; the most real states whose poles fit into `order` stored ones."""
    system = shared.system
    assert isinstance(system, DiagonalStateSpace)
    B, C = system.B, stacked_output(system)
    if system.conjugate_pairs:
        B, C, A_right = real_input(B), real_output(C), real_state_times(system.poles, shared.right)
    else:
        A_right = system.poles[:, None] * shared.right
    D = np.zeros((C.shape[0], system.m))
    most = min(real_order(system, order), int(_present(shared.hsv)))
    failure: Exception | None = None
    root = np.sqrt(shared.hsv[:most])
    nearly_A = (shared.left[:, :most] / root).conj().T @ (A_right[:, :most] / root)
    k = most + 1
    while (k := k - 1) > 0:
        # poles alone, of a leading block, are cheap, and tell most of the k that do not fit
        if k > order and (excess := int((np.linalg.eigvals(nearly_A[:k, :k]).imag >= 0).sum()) - order) > 0:
            k -= (excess - 1) // 2 if k > MANY else 0
            continue
        A_r, B_r, C_r, uncertainty = project(shared.left, shared.hsv, shared.right, k, A_right, B, C)
        if not system.conjugate_pairs:
            A_r, B_r, C_r = (np.asarray(array, dtype=complex) for array in (A_r, B_r, C_r))
        try:
            small = StateSpace(A_r, B_r, C_r, D, dt=system.dt)
            diagonal, condition, perturbation = diagonalize(
                small, condition_limit=condition_limit, uncertainty=uncertainty
            )
            if diagonal.n > order:
                continue
            require_reduced_stable(diagonal, shared.hsv, k)
        except (AccuracyError, StabilityError) as error:
            failure = failure or error
            continue
        p = system.p
        reduced = system.replace(
            poles=diagonal.poles,
            B=diagonal.B,
            C=diagonal.C[:p],
            C_reverse=diagonal.C[p:] if system.is_bidirectional else None,
        )
        directions = _directions(system)
        bound = balanced_bound(shared.hsv, k, directions=directions) + directions * perturbation
        status = f"balanced truncation to {diagonal.n} stored states ({k} of {shared.hsv.size})"
        remarks: tuple[Remark, ...] = () if failure is None else (Remark.PARTLY_REFUSED,)
        if failure is not None:
            status += "; a larger part of the budget was tried and refused: " + str(failure)
        return Truncation(
            system=reduced, order=diagonal.n, hsv=shared.hsv, bound=bound,
            floor=hankel_floor(shared.floor_hsv, real_order(system, diagonal.n)), status=status, remarks=remarks,
            diagnostics={"states": k, "condition": condition, "perturbation": perturbation},
        )  # fmt: skip
    if failure is not None:
        raise failure
    if most == 0:  # a channel of a batch without any dynamics
        return modal_truncation(system, np.zeros(0, dtype=int), hsv=shared.hsv)
    raise OrderError(f"no balanced system fits into {order} stored states: its poles are real", order, 0)
