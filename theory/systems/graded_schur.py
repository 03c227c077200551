r"""A dense system in graded Schur coordinates: for repeated and nearly repeated poles, whose eigenvectors are useless.

With U from the Schur form and a diagonal S of powers of two, :math:`V=US` makes :math:`V^{-1}AV` nearly triangular with
couplings no larger than what the poles are apart or away from the boundary: the resolvent is then about as large as the
distance to the poles allows, where a Jordan block of size n and margin :math:`\delta` has :math:`\delta^{-n}`. The
matrix :math:`M \approx V^{-1}AV` is computed to the last bit of every entry, and :math:`V^{-1}AV = M+F` holds exactly
with :math:`F=V^{-1}(AV-VM)` bounded from a residual beyond float64 (:mod:`theory.arithmetic.products`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from theory.arithmetic.near_inverse import NearInverse
from theory.arithmetic.products import product
from theory.arithmetic.rounding import frobenius
from theory.systems.eigenvectors import rounded
from theory.systems.margin import discrete_margin
from theory.systems.system import StateSpace
from theory.systems.units import equilibrated

Array = NDArray[Any]


@dataclass(kw_only=True, frozen=True)
class Graded:
    """The system ``(A + F, B + b, C + c)``; the errors bound the Frobenius norms of F, b and c.

    `schur`: the coordinates are complex, and the resolvent at the conjugate point is another one.
    """

    A: Array
    B: Array
    C: Array
    A_error: float
    B_error: float
    C_error: float
    schur: bool = True


def graded(system: StateSpace, *, refinements: int = 3) -> Graded | None:
    """Return the system in graded Schur coordinates; ``None`` where they are no better or cannot be proved."""
    with np.errstate(all="ignore"):
        result = _graded(system, refinements)
    if result is None:
        return None
    errors = np.array([result.A_error, result.B_error, result.C_error])
    return result if all(np.isfinite(x).all() for x in (result.A, result.B, result.C, errors)) else None


def _graded(system: StateSpace, refinements: int) -> Graded | None:
    A, B, C = equilibrated(system)
    try:
        T, U = scipy.linalg.schur(A, output="complex")
    except np.linalg.LinAlgError:
        return None
    scale = grading(T, discrete=system.is_discrete)
    V, W = U * scale, U.conj().T / scale[:, None]
    inverse = NearInverse.of(V, W)
    if inverse is None:
        return None
    left = np.hstack([A.astype(complex), -V])
    M = W @ (A @ V)
    for _ in range(refinements):
        M = M + W @ product(left, np.vstack([V, M]))[0].astype(complex)
    F = inverse.bound(*rounded(*product(left, np.vstack([V, M]))))
    Bm = W @ B
    for _ in range(refinements):
        Bm = Bm - W @ product(V, Bm, minus=B)[0].astype(complex)
    exact_C, C_rounding = product(C, V)
    Cm = exact_C.astype(complex)
    missing, C_rounding = rounded(exact_C - Cm, C_rounding)
    return Graded(
        A=M,
        B=Bm,
        C=Cm,
        A_error=float(frobenius(F)),
        B_error=float(frobenius(inverse.bound(*rounded(*product(V, Bm, minus=B))))),
        C_error=float(frobenius(np.abs(missing) + C_rounding)),
    )


def grading(T: Array, *, discrete: bool, least: float = 2.0**-46) -> Array:
    """Powers of two, non-increasing, that keep every coupling of a triangular matrix below the gap it works over.

    The gap of two poles is what they are apart, or the larger of their margins; `least` is the smallest scale.
    """
    poles = np.diag(T)
    margin = np.abs(discrete_margin(poles) if discrete else poles.real)
    scale = np.ones(poles.size)
    for j in range(1, poles.size):
        gap = np.maximum(np.maximum(margin[:j], margin[j]), 0.5 * np.abs(poles[:j] - poles[j]))
        room = scale[:j] * np.minimum(1.0, 0.5 * gap / np.maximum(np.abs(T[:j, j]), 1e-300))
        scale[j] = max(float(room.min()), least)
    return np.asarray(2.0 ** np.round(np.log2(scale)))
