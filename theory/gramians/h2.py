r"""The H2 norm: root of the energy of the impulse response."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.rounding import UNIT
from theory.gramians.dense import dense_gramians
from theory.gramians.gramians import controllability_factor
from theory.systems.given import SystemLike, as_system
from theory.systems.margin import pole_gap
from theory.systems.pairs import real_output
from theory.systems.realization import anticausal_part, causal_part, feedthrough_of_delay, standard_form
from theory.systems.system import DiagonalStateSpace, StateSpace, require_stable
from theory.systems.units import unit_gains

Array = NDArray[Any]

CLOSED_FORM_TOL = 1e-13
"""Relative error up to which the sum over pairs of modes is taken: well inside what the factor promises."""

TERM = 16
"""Roundings of one term besides its dot products: the gap of two poles, a division, two products, the sum's share."""

ENTRIES = 1 << 15
"""Terms that are worked on at once: a few arrays of them fit the second-level cache."""


def h2_norm(system: SystemLike, *, closed_form_tol: float = CLOSED_FORM_TOL) -> Any:
    r"""Return the H2 norm.

    .. math:: \|G\|_2^2=\frac1{2\pi}\int\|G\|_F^2\,d\omega=\sum_k\|h_k\|_F^2=\|D\|_F^2+\|CL_c\|_F^2,\qquad P=L_cL_c^*

    In continuous time the norm is infinite unless :math:`D=0`. A bidirectional system has the impulse response of both
    directions, which overlap at lag 0 when both have ``delay=0``.

    Parameters
    ----------
    system : StateSpace or DiagonalStateSpace
        Stable; discrete or continuous.
    closed_form_tol : float, keyword only
        Relative error of the energy up to which the sum over pairs of modes of a diagonal system is taken; past it a
        factor of the Gramian is computed.

    Returns
    -------
    float
        An array for a batch.

    Raises
    ------
    StabilityError
        A pole lies on or outside the boundary.
    AccuracyError
        Neither float64 nor integers prove the norm of a dense system.

    Notes
    -----
    In discrete time the sum has unit weight per sample (not ``dt``). A sum of squares, so nothing cancels between modes
    of a factor; relative error a small multiple of eps times :math:`\|C\|\|L_c\|/\|CL_c\|`. Cost O(n^2 m + n^2 p).
    Dense: O(n^3), proved to a relative error of 1e-7, and of 1e-10 up to a few dozen states.
    """
    system = as_system(system)
    if isinstance(system, StateSpace):
        energy = dense_gramians(system).energy_norm() if system.n else 0.0
        infinite = not system.is_discrete and bool(system.D.any())
        return float("inf") if infinite else float(np.hypot(np.linalg.norm(system.D), energy))
    require_stable(system)
    infinite = not system.is_discrete and np.any(system.D != 0, axis=(-2, -1))
    system, (left, right) = unit_gains(system)
    lag_zero = system.D
    if system.delay == 0:
        lag_zero = lag_zero + feedthrough_of_delay(causal_part(system))
    parts = [standard_form(causal_part(system))]
    if system.is_bidirectional:
        reverse = anticausal_part(system)
        if reverse.delay == 0:
            lag_zero = lag_zero + feedthrough_of_delay(reverse)
        parts.append(standard_form(reverse))
    squares = [_energy(lag_zero), *(_strict_energy(part, closed_form_tol) for part in parts)]
    with np.errstate(over="ignore"):
        norm = np.where(infinite, np.inf, np.sqrt(sum(squares)) * left * right)
    return norm if np.ndim(norm) else float(norm)


def _energy(matrix: Array) -> Array:
    """Squared Frobenius norm."""
    return np.sum(np.abs(matrix) ** 2, axis=(-2, -1))  # type: ignore[no-any-return]


def _strict_energy(system: DiagonalStateSpace, tol: float) -> Array:
    """Energy of the strictly proper part, ``D`` left out: by the sum over pairs of modes, or by a factor.

    The sum is off by a few eps of the sum of the absolute values of its terms, the norm by a factor of the Gramian by a
    few eps of the root of that: it is computed where the modes nearly cancel.
    """
    energy, size = _sum_over_modes(system)
    rounding = 0.5 * (system.m + system.p + TERM) * UNIT * size
    doubtful = ~(rounding <= tol * energy) & (size > 0)
    if np.any(doubtful):
        part = system[doubtful] if system.batch_shape else system
        C = real_output(part.C) if part.conjugate_pairs else part.C
        energy = np.array(energy)
        energy[doubtful] = _energy(C @ controllability_factor(part))
    return energy


def _sum_over_modes(system: DiagonalStateSpace) -> tuple[Array, Array]:
    r"""Return :math:`\mathrm{tr}\,CPC^*=\sum_{ij}(BB^*)_{ij}(C^*C)_{ji}/(1-\lambda_i\bar\lambda_j)`, and its size.

    Of conjugate pairs twice that and twice the real part of the same with transposes for adjoints. Half of the terms,
    the others are their conjugates.
    """
    B, C = system.B, np.swapaxes(system.C, -1, -2)
    sizes = np.linalg.norm(B, axis=-1) * np.linalg.norm(C, axis=-1)
    factors = (B * C,) if (system.m, system.p) == (1, 1) else (B, C)
    energy, size = np.zeros(system.batch_shape), np.zeros(system.batch_shape)
    step = max(1, ENTRIES // max(system.poles.size, 1))
    for start in range(0, system.n, step):
        rows, columns = slice(start, start + step), slice(start, None)
        for mirrored in (False, True) if system.conjugate_pairs else (False,):
            weights: Any = 1.0
            for factor in factors:
                other = np.swapaxes(factor[..., columns, :], -1, -2)
                weights = weights * (factor[..., rows, :] @ (other if mirrored else other.conj()))
            across = system.poles[..., None, columns]
            gap = pole_gap(system.poles[..., rows, None], across.conj() if mirrored else across, system.is_discrete)
            energy += _with_transposed((weights / gap).real)
            size += _with_transposed(sizes[..., rows, None] * sizes[..., None, columns] / np.abs(gap))
    return (2.0 * energy, 2.0 * size) if system.conjugate_pairs else (energy, size)


def _with_transposed(terms: Array) -> Array:
    """Sum of the rows of a symmetric matrix from its diagonal block on, and of the columns below that block."""
    return np.asarray(2.0 * terms.sum(axis=(-2, -1)) - terms[..., : terms.shape[-2]].sum(axis=(-2, -1)))
