r"""Truncation of a pair of Gramians for whatever system: a dense one goes through its modes, and stays dense.

In modal coordinates, a complex pair written as :math:`[\Re x;\Im x]`, A is normal and :math:`I-A^*A\succ0`, so that the
theorem of :mod:`theory.reduction.gramian_pairs` holds for a dense system as for a diagonal one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.errors import AccuracyError, StabilityError
from theory.gramians.gramians import gramians
from theory.reduction.a_posteriori import error_bound
from theory.reduction.balanced_truncation import truncate
from theory.reduction.balancing import Balancing, Remark, Truncation
from theory.reduction.bounds import hankel_floor, require_consistent
from theory.reduction.dense_truncation import certified, project
from theory.reduction.diagonalization import Diagonalization, diagonalize
from theory.reduction.gramian_pairs import REGULARIZATION, pair_factors, pair_truncation, refusal
from theory.systems.pairs import real_input, real_output, real_state_times
from theory.systems.system import DiagonalStateSpace, StateSpace, System, require_stable

Array = NDArray[Any]

Pair = Callable[[DiagonalStateSpace], tuple[Array, Array | None]]

CONDITION_LIMIT = 1e8
"""Largest eigenvector condition number of a dense system that goes through its modes."""


def truncate_by_pair(
    system: System, order: int, pair: Pair, balancing: Balancing, *, fall_back: bool = False
) -> Truncation:
    r"""Truncate the realization in which the Gramians that `pair` gives are equal and diagonal.

    Parameters
    ----------
    system : StateSpace or DiagonalStateSpace
        Stable; a dense one with eigenvectors of condition up to :data:`CONDITION_LIMIT`.
    order : int
        Stored states to keep (states, of a dense system), ``0 <= order <= n``.
    pair : function
        Of a diagonal system: ``P, Q`` as for :func:`theory.reduction.gramian_pairs.pair_truncation`, Q ``None`` for the
        exact one.
    balancing : Balancing
        Of `system`.
    fall_back : bool, keyword only
        Whether a pair that makes the system unstable gives its Q up for the exact one; the status says so.

    Returns
    -------
    Truncation
        Dense: ``bound`` is the a-posteriori one, or the certified error where that is larger or cannot be proved;
        ``diagnostics["pair"]`` are the singular values of the pair in modal coordinates.

    Raises
    ------
    StabilityError
        The system, or every truncation of this pair, is not stable; the latter only if no Gramian of it is exact.
    AccuracyError
        The modes of a dense system cannot be told apart, or its error cannot be proved.
    """
    require_stable(system)
    if isinstance(system, DiagonalStateSpace):
        return pair_truncation(system, order, *pair(system), balancing=balancing, fall_back=fall_back)
    if order in (0, system.n):
        return truncate(balancing, order, CONDITION_LIMIT)
    modes = modes_of(system)
    P, Q = pair(modes.system)
    fallen = False
    try:
        reduced, values = _truncated(system, modes.system, order, P, Q)
    except StabilityError:
        if Q is None or not fall_back:
            raise
        reduced, values = _truncated(system, modes.system, order, P, None)
        fallen = True
    bound, error = _bound(system, reduced)
    floor = hankel_floor(balancing.floor_hsv, order)
    require_consistent(floor=floor, bound=bound, error=error)
    note = "; it took the exact observability Gramian, unstable with the other" if fallen else ""
    return Truncation(
        system=reduced, order=order, hsv=balancing.hsv, bound=bound, floor=floor,
        status=f"truncation of the pair to {order} states{note}", remarks=(Remark.PARTLY_REFUSED,) if fallen else (),
        diagnostics={"states": order, "condition": modes.condition, "perturbation": modes.perturbation, "pair": values},
    )  # fmt: skip


def _truncated(
    system: StateSpace, modes: DiagonalStateSpace, order: int, P: Array, Q: Array | None
) -> tuple[StateSpace, Array]:
    """The leading part of the realization, and the singular values of the pair."""
    left, values, right = pair_factors(modes, P, gramians(modes)[1] if Q is None else Q, REGULARIZATION)
    B, C = modes.B, modes.C
    if system.is_real:
        B, C, A_right = real_input(B), real_output(C), real_state_times(modes.poles, right)
    else:
        A_right = modes.poles[:, None] * right
    A_r, B_r, C_r, _ = project(left, values, right, order, A_right, B, C)
    reduced = StateSpace(A_r, B_r, C_r, system.D, dt=system.dt)
    try:
        require_stable(reduced)
    except StabilityError as unstable:
        raise refusal(unstable, order) from unstable
    return reduced, values


def modes_of(system: StateSpace) -> Diagonalization:
    """Diagonalize a dense system, or say that its modes cannot be told apart."""
    try:
        return diagonalize(system, condition_limit=CONDITION_LIMIT)
    except AccuracyError as error:
        raise AccuracyError(
            f"the eigenvectors of this dense system have condition number {error.condition:.3g}, past the limit "
            f"{CONDITION_LIMIT:.3g}, so its modes cannot be told apart: reduce it by 'balanced' first, or pass it in "
            "modal (diagonal) form",
            error.condition,
        ) from error


def _bound(system: StateSpace, reduced: StateSpace) -> tuple[float, tuple[float, float]]:
    """A bound that is proved, and the certified error, from below and above."""
    try:
        expected = float(error_bound(system, reduced))
    except AccuracyError:  # the Gramians of the error are not proved, its norm may be
        expected = 0.0
    return certified(system, reduced, expected if np.isfinite(expected) else 0.0)
