r"""Every a-priori bound that the project states, each with the place of its proof.

The inequalities are proved in exact arithmetic; each function moves its value outwards by the rounding of the
numbers that went in (named ``allowance``), so that it also holds for the computed ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory.arithmetic.rounding import EPS
from theory.errors import AccuracyError, InputError, OrderError
from theory.systems.given import SystemLike, as_system
from theory.systems.system import require_stable

Array = NDArray[Any]


def _checked(hsv: ArrayLike, order: int) -> Array:
    values = np.asarray(hsv, dtype=float)
    if values.ndim < 1 or not np.isfinite(values).all() or (values < 0).any() or (np.diff(values, axis=-1) > 0).any():
        raise InputError("hsv must be finite, not negative and descending along its last axis")
    if order < 0:
        raise OrderError(f"order must not be negative, got {order}", int(order), values.shape[-1])
    return values


def hsv_allowance(hsv: ArrayLike) -> Array:
    r"""Return :math:`N\,\varepsilon\,\sigma_1`, what a computed Hankel singular value may be off by, shape (...)."""
    values = np.asarray(hsv, dtype=float)
    if values.shape[-1] == 0:
        return np.zeros(values.shape[:-1])
    return values.shape[-1] * EPS * values[..., 0]  # type: ignore[no-any-return]


def balanced_bound(hsv: ArrayLike, order: int, *, directions: int = 1, multiplicity_rtol: float = 0.0) -> Any:
    r"""Bound the error of balanced truncation and of balanced residualization.

    .. math:: \|G-G_r\|_\infty\le 2\sum_{i>r}\sigma_i,\quad\text{each distinct value once}

    :cite:p:`G84` (continuous time), :cite:p:`HP90` (discrete time), :cite:p:`A05` (Thm 7.9).

    Parameters
    ----------
    hsv : array_like, shape (..., N), descending
        Hankel singular values; for conjugate pairs of the real system with N = 2n states.
    order : int
        Number of those states kept; the bound is 0 from N on.
    directions : {1, 2}, keyword only
        2 for a bidirectional system whose outputs were stacked: both directions add,
        :math:`\|E_1+E_2^\sim\|\le2\|[E_1;E_2]\|`.
    multiplicity_rtol : float, keyword only
        Values of a chain of neighbours within this relative distance count once, as the largest. 0 merges equal floats
        only. A positive value asserts that such values are equal in exact arithmetic; that is not checked.

    Returns
    -------
    float
        An array for a batch.

    Raises
    ------
    InputError, OrderError
    """
    values = _checked(hsv, order)
    if directions not in (1, 2):
        raise InputError(f"directions is 1 or 2, got {directions}")
    tail = values[..., order:]
    if tail.shape[-1] == 0:
        bound = np.zeros(values.shape[:-1])
    else:
        fresh = np.ones(tail.shape, dtype=bool)
        fresh[..., 1:] = tail[..., :-1] - tail[..., 1:] > multiplicity_rtol * tail[..., :-1]
        count = fresh.sum(-1)
        total = np.where(fresh, tail, 0.0).sum(-1) + count * hsv_allowance(values)
        bound = 2.0 * directions * total * (1.0 + count * EPS)
    return bound if bound.ndim else float(bound)


def hankel_floor(hsv: ArrayLike, order: int) -> Any:
    r"""Return what no system of `order` states can beat.

    .. math:: \|G-G_r\|_\infty\ge\sigma_{r+1}

    for every stable :math:`G_r` with `order` states :cite:p:`G84` (Adamyan, Arov and Krein).

    Parameters
    ----------
    hsv : array_like, shape (..., N), descending
        Which ones: of the stored ``(L, B, C)`` while ``D`` is kept and there is one direction
        (:func:`theory.gramians.hankel.hankel_singular_values`), of the strictly causal part otherwise
        (:func:`theory.gramians.hankel.causal_hankel_singular_values`).
    order : int
        Number of states of the reduced system, counted as `hsv` counts them: a layer cut to r stored pairs has 2r.

    Returns
    -------
    float
        Rounded down by the allowance; 0 from N on. An array for a batch.
    """
    values = _checked(hsv, order)
    if order >= values.shape[-1]:
        floor = np.zeros(values.shape[:-1])
    else:
        floor = np.maximum(values[..., order] - hsv_allowance(values), 0.0)
    return floor if floor.ndim else float(floor)


def modal_bound(system: SystemLike, removed: ArrayLike) -> Any:
    r"""Bound the error of leaving out stored states.

    .. math:: \|G-G_r\|_\infty\le\sum_{i\ \text{removed}}\frac{\kappa\,\|c_i\|\|b_i\|}{1-|\lambda_i|}

    with :math:`\kappa=2` for conjugate pairs (a pair gains up to twice its stored half) and 1 otherwise, and
    :math:`\|c_i\|+\|c_i'\|` for the two directions of a bidirectional system. The triangle inequality over the
    modes. :cite:p:`GMKP24` has the single-mode gain (without the factor 2). Continuous time: :math:`-\Re\lambda_i`
    below.

    Parameters
    ----------
    system : DiagonalStateSpace
        Stable.
    removed : array_like
        Integer indices or a boolean mask of the stored states that go.

    Returns
    -------
    float
        Rounded up; an array for a batch.

    Raises
    ------
    StabilityError
        A pole lies on or outside the boundary.
    """
    system = as_system(system, diagonal=True)
    require_stable(system)
    gone = system.keep(removed)
    gain = np.linalg.norm(gone.C, axis=-2)
    if gone.C_reverse is not None:
        gain = gain + np.linalg.norm(gone.C_reverse, axis=-2)
    terms = (2.0 if gone.conjugate_pairs else 1.0) * gain * np.linalg.norm(gone.B, axis=-1) / gone.margin
    bound = terms.sum(-1) * (1.0 + (gone.n + gone.m + gone.p + 16) * EPS)
    return bound if np.ndim(bound) else float(bound)


def require_consistent(*, floor: ArrayLike, bound: ArrayLike, error: tuple[ArrayLike, ArrayLike] | None = None) -> None:
    r"""Raise where :math:`\text{floor}\le\|G-G_r\|_\infty\le\text{bound}` cannot hold for what was computed.

    A last look: each number comes with a proof of its own, and two that contradict each other say that one of the
    proofs, or the arithmetic under it, is wrong.

    Parameters
    ----------
    floor, bound : array_like, keyword only
        Of a reduction, one each for every channel of a batch.
    error : (lower, upper), optional, keyword only
        Both ends of the certified error.

    Raises
    ------
    AccuracyError
        Names the part that failed; ``condition`` is the quotient of the two numbers.
    """
    lower, upper = (floor, bound) if error is None else error
    pairs = (
        ("the floor", floor, "the bound", bound),
        ("the floor", floor, "the certified error", upper),
        ("the certified error", lower, "the bound", bound),
    )
    for smaller, left, larger, right in pairs:
        wrong = ~(np.asarray(left, dtype=float) <= np.asarray(right, dtype=float))
        if wrong.any():
            one, other = (
                float(np.broadcast_to(np.asarray(x, dtype=float), wrong.shape)[wrong][0]) for x in (left, right)
            )
            raise AccuracyError(
                f"{smaller}, {one:.6g}, is above {larger}, {other:.6g}: one of them is wrong; please report the "
                "system, and take the certified error (error_norm) until then",
                one / other if other else float("inf"),
            )
