r"""Reduction of dense systems in H2 by the two-sided iteration, under control.

A stationary point of :math:`\|G-G_r\|_2` is the projection onto the spans of its own cross Gramians
:cite:p:`W70`, in discrete time :cite:p:`BKVW10`

.. math:: AXA_r^*-X+BB_r^*=0,\qquad A^*YA_r-Y+C^*C_r=0,\qquad A_r=(Y^*X)^{-1}Y^*AX

(continuous: :math:`AX+XA_r^*+BB_r^*=0` and so on). Iterating that is IRKA :cite:p:`GAB08`, with the
poles of :math:`A_r` mirrored as points of interpolation. It need not converge, nor stay stable: iterates that are not
stable end it, and the best one that was seen is what comes back. Columns of X and Y are resolvents at the reduced
poles, one linear system each.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from theory.errors import InputError, StabilityError
from theory.gramians.h2 import h2_norm
from theory.systems.difference import difference
from theory.systems.system import StateSpace, require_stable

Array = NDArray[Any]


class Iterated(NamedTuple):
    """The best system seen, how often was iterated, and whether that ended because nothing moved any more."""

    system: StateSpace
    iterations: int
    converged: bool


def two_sided_iteration(
    system: StateSpace, start: StateSpace, *, iterations: int = 200, tolerance: float = 1e-9
) -> Iterated:
    """Iterate from `start`; never worse in H2 than that.

    Parameters
    ----------
    system, start : StateSpace
        Stable; same time base, inputs, outputs and ``D``.
    iterations : int, keyword only
        At most.
    tolerance : float, keyword only
        Largest relative move of the reduced poles that counts as none.

    Raises
    ------
    StabilityError, InputError

    Notes
    -----
    Cost: 2 r linear systems of n equations an iteration. In continuous time a pole far out has a large norm, and moves
    count relative to the largest one.
    """
    require_stable(system)
    require_stable(start)
    if not np.array_equal(system.D, start.D):
        raise InputError("the systems differ in D: give the reduced one that of the whole")
    best, least = start, _energy(system, start)
    now, before, done = start, np.sort_complex(start.poles), 0
    converged = not start.n
    while done < iterations and not converged:
        done += 1
        found = _projected(system, now)
        if found is None:
            break
        try:
            require_stable(found)
        except StabilityError:
            break
        error = _energy(system, found)
        if error < least:
            best, least = found, error
        poles = np.sort_complex(found.poles)
        converged = bool(np.abs(poles - before).max() <= tolerance * np.abs(poles).max())
        now, before = found, poles
    if best is not start and not h2_norm(difference(system, best)) <= h2_norm(difference(system, start)):
        best = start
    return Iterated(best, done, converged)


def _energy(system: StateSpace, reduced: StateSpace) -> float:
    """Squared H2 norm of the error by a plain Lyapunov equation, its rounding not known: to choose among iterates."""
    A = scipy.linalg.block_diag(system.A, reduced.A)
    B, C = np.vstack([system.B, reduced.B]), np.hstack([system.C, -reduced.C])
    if system.is_discrete:
        P = scipy.linalg.solve_discrete_lyapunov(A, B @ B.conj().T)
    else:
        P = scipy.linalg.solve_continuous_lyapunov(A, -B @ B.conj().T)
    return float(np.einsum("ij,jk,ik->", C, P, C.conj()).real)


def _projected(system: StateSpace, reduced: StateSpace) -> StateSpace | None:
    """The next iterate; None where its bases are not there."""
    poles, S = np.linalg.eig(reduced.A)
    try:
        b = np.linalg.solve(S, reduced.B.astype(complex))
        X = _resolvents(system.A, poles.conj(), system.B @ b.conj().T, system.is_discrete)
        Y = _resolvents(system.A.conj().T, poles, system.C.conj().T @ (reduced.C @ S), system.is_discrete)
        X, Y = X @ S.conj().T, np.linalg.solve(S.T, Y.T).T
        if system.is_real:
            X, Y = X.real, Y.real
        V, W = (scipy.linalg.qr(Z, mode="economic")[0] for Z in (X, Y))
        both = np.linalg.solve(W.conj().T @ V, W.conj().T @ np.concatenate([system.A @ V, system.B], axis=1))
    except np.linalg.LinAlgError:
        return None
    if not np.isfinite(both).all():
        return None
    r = reduced.n
    return StateSpace(both[:, :r], both[:, r:], system.C @ V, system.D, dt=system.dt)


def _resolvents(A: Array, poles: Array, right: Array, discrete: bool) -> Array:
    """Columns x with ``x = pole A x + right``, in continuous time ``0 = A x + pole x + right``."""
    eye = np.eye(len(A))
    pencils = eye - poles[:, None, None] * A if discrete else -A - poles[:, None, None] * eye
    return np.asarray(np.linalg.solve(pencils, right.T[:, :, None])[:, :, 0].T)
