r"""A dense system in the coordinates of its eigenvectors, with a proved remainder.

With a computed eigenvector matrix V and an approximate inverse W, :math:`V^{-1}AV = \Lambda + F` holds exactly for
:math:`F = V^{-1}(AV - V\Lambda)`, and :math:`|V^{-1}Y| \le |WY| + \dots` follows from :math:`\|I-WV\|_\infty < 1/2`.
All entries of F, and of what is missing in ``W B`` and ``C V``, are bounded from residuals in extended precision
(:mod:`theory.arithmetic.products`). V and :math:`\Lambda` are pairs of float64 arrays, a value and a correction: Newton
steps make F smaller than the rounding of one float64 array would.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.exact import two_product, two_sum
from theory.arithmetic.near_inverse import NearInverse
from theory.arithmetic.products import product
from theory.arithmetic.rounding import TINY, UNIT, gamma, row_norms
from theory.systems.margin import discrete_margin
from theory.systems.system import StateSpace
from theory.systems.units import equilibrated

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Diagonalized:
    r"""The dense system is exactly ``(C + c)(zI - diag(poles + low) - f)^{-1}(B + b) + D`` with small f, b and c.

    Attributes
    ----------
    poles, low : ndarray of complex, (n,)
        The computed poles, and what float64 cuts off them.
    margin : ndarray, (n,)
        Distance of ``poles + low`` from the stability boundary, negative outside.
    B, C : ndarray, (n, m), (p, n)
    F : ndarray, (n, n)
        Elementwise bound of f.
    b_error, c_error : ndarray, (n,)
        Bounds of the norms of the rows of b and of the columns of c.
    """

    poles: Array
    low: Array
    margin: Array
    B: Array
    C: Array
    F: Array
    b_error: Array
    c_error: Array


def diagonalized(system: StateSpace, *, steps: int = 3) -> Diagonalized | None:
    """Return a dense system's modes with a bound of what they leave out; ``None`` if it cannot be diagonalised.

    `steps` Newton steps refine the eigenvectors first; each costs about thirty products of matrices.
    """
    with np.errstate(all="ignore"):
        modes = _diagonalized(system, steps)
        if modes is None and steps > 0:  # Newton's method diverged: of a nearly defective matrix it may
            modes = _diagonalized(system, 0)
    return modes if modes is not None and np.isfinite(modes.F).all() else None


def _diagonalized(system: StateSpace, steps: int) -> Diagonalized | None:
    n = system.n
    A, B, C = equilibrated(system)
    try:
        poles, V = np.linalg.eig(A)
        W = np.linalg.inv(V)
    except np.linalg.LinAlgError:
        return None
    poles, V, W = poles.astype(complex), V.astype(complex), W.astype(complex)
    if not (np.isfinite(W).all() and np.isfinite(V).all()):
        return None
    low_V, low = np.zeros_like(V), np.zeros(n, complex)
    for _ in range(steps):
        V, low_V, poles, low = _refined(A, (V, low_V), W, (poles, low))
    if steps and np.isfinite(V).all():  # vectors of repeated poles turn by as much as a tenth among themselves
        try:
            W = np.linalg.inv(V)
        except np.linalg.LinAlgError:
            return None
    inverse = NearInverse.of(V, W, low=low_V)
    if inverse is None:
        return None
    residual = _residual(A, (V, low_V), (poles, low)) if steps else _plain_residual(A, V, poles)
    F = inverse.bound(*rounded(*residual))
    Bm = W @ B
    Bm = Bm + W @ -_product((V, low_V), Bm, minus=B)[0].astype(complex)
    b_error = inverse.bound(*rounded(*_product((V, low_V), Bm, minus=B)))
    exact_C, rounding_C = product(C, V)
    exact_C = exact_C + C @ low_V
    rounding_C = rounding_C + 2.0 * gamma(n) * (np.abs(C) @ np.abs(low_V))
    Cm = exact_C.astype(complex)
    missing, rounding_C = rounded(exact_C - Cm, rounding_C)
    c_error = np.abs(missing) * (1 + 1e-14) + rounding_C
    # balance every mode by a power of two, |c_i| = |b_i| within a factor 2
    c, b = row_norms(Cm, axis=0) + row_norms(c_error, axis=0), row_norms(Bm, axis=1) + row_norms(b_error, axis=1)
    balance = 2.0 ** np.clip(np.round(0.5 * (np.log2(b) - np.log2(c))), -400, 400)
    F = F * balance[None, :] / balance[:, None]
    Bm, b_error, Cm, c_error = Bm / balance[:, None], b_error / balance[:, None], Cm * balance, c_error * balance
    if system.is_discrete:
        direction = poles.conj() / np.where(poles != 0, np.abs(poles), 1.0)
        margin = discrete_margin(poles) - (direction * low).real
    else:
        margin = -poles.real - low.real
    return Diagonalized(
        poles=poles,
        low=low,
        margin=margin,
        B=Bm,
        C=Cm,
        F=F,
        b_error=row_norms(b_error, axis=1),
        c_error=row_norms(c_error, axis=0),
    )


# a float64 array and a correction to it
Pair = tuple[Array, Array]


def _residual(A: Array, V: Pair, poles: Pair) -> tuple[Array, Array]:
    """``A V - V diag(poles)`` for pairs of values and corrections, and an elementwise bound of its error."""
    value, bound = product(np.hstack([A, -V[0]]), np.vstack([V[0], np.diag(poles[0])]))
    rest = A @ V[1] - V[0] * poles[1] - V[1] * (poles[0] + poles[1])
    size = np.abs(A) @ np.abs(V[1]) + np.abs(V[0]) * np.abs(poles[1]) + np.abs(V[1]) * np.abs(poles[0])
    return value + rest, bound + 2.0 * gamma(A.shape[0]) * size


def _plain_residual(A: Array, V: Array, poles: Array) -> tuple[Array, Array]:
    """The same without corrections: products with a diagonal matrix are exact pairs, entry by entry."""
    rr, ii = two_product(V.real, poles.real), two_product(V.imag, poles.imag)
    ri, ir = two_product(V.real, poles.imag), two_product(V.imag, poles.real)
    return product(A, V, minus=[part for k in (0, 1) for part in (rr[k] + 1j * ri[k], -ii[k] + 1j * ir[k])])


def _product(V: Pair, Y: Array, *, minus: Array) -> tuple[Array, Array]:
    """``V Y - minus`` and an elementwise bound of its error."""
    value, bound = product(V[0], Y, minus=minus)
    return value + V[1] @ Y, bound + 2.0 * gamma(Y.shape[0]) * (np.abs(V[1]) @ np.abs(Y))


def _refined(A: Array, V: Pair, W: Array, poles: Pair) -> tuple[Array, Array, Array, Array]:
    """One Newton step for all eigenvectors and poles at once."""
    E = W @ _residual(A, V, poles)[0].astype(complex)
    gaps = poles[0][None, :] - poles[0][:, None]
    apart = np.abs(gaps) > 8.0 * np.maximum(np.abs(E), np.abs(E.T))  # nearly repeated poles stay coupled: F bounds them
    correction = np.where(apart, E / np.where(apart, gaps, 1.0), 0.0)
    shift = np.diag(E)  # of a defective matrix it is as large as the poles, and noise
    return *_added(V, V[0] @ correction), *_added(poles, np.where(np.abs(shift) < 1e-2 * np.abs(poles[0]), shift, 0.0))


def _added(pair: Pair, change: Array) -> Pair:
    """Add a small `change` to a pair of a value and its correction."""
    return two_sum(pair[0], pair[1] + change)


def rounded(value: Array, rounding: Array) -> tuple[Array, Array]:
    """Round an extended result to float64; the bound of its error grows accordingly."""
    result = value.astype(complex)
    return result, rounding + 2.0 * UNIT * np.abs(result) + TINY


def spectrum_radii(F: Array) -> Array:
    """Gershgorin: every eigenvalue of the true A lies in a disc about a computed pole with this radius, (n,)."""
    return np.asarray(np.minimum(F.sum(axis=1), np.inf) * (1 + gamma(F.shape[0])))
