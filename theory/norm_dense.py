r"""A dense system as a modal sum with a proved remainder.

With a computed eigenvector matrix V and an approximate inverse W, :math:`V^{-1}AV = \Lambda + F` holds exactly for
:math:`F = V^{-1}(AV - V\Lambda)`, and :math:`|V^{-1}Y| \le |WY| + \dots` follows from :math:`\|I-WV\|_\infty < 1/2`.
All entries of F, and of what is missing in ``W B`` and ``C V``, are bounded from residuals in extended precision
(:mod:`theory.norm_accurate`), so that the bounds are a few units of rounding and do not grow with n.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.margin import discrete_margin
from theory.norm_accurate import EXTENDED, product
from theory.norm_modes import ModalSum, Perturbation
from theory.norm_rounding import TINY, UNIT, gamma, row_norms
from theory.norm_units import balanced
from theory.system import StateSpace

Array = NDArray[Any]


def modal_sum(system: StateSpace) -> ModalSum | None:
    """Return the modes of a dense system with a bound of what they leave out; ``None`` if it cannot be diagonalised."""
    with np.errstate(all="ignore"):
        modes = _modal_sum(system)
    known = modes is not None and modes.perturbation is not None and np.isfinite(modes.perturbation.F).all()
    return modes if known else None


def _modal_sum(system: StateSpace, *, refined: int = 64) -> ModalSum | None:
    n = system.n
    A, B, C = balanced(system)
    try:
        poles, V = np.linalg.eig(A)
        W = np.linalg.inv(V)
    except np.linalg.LinAlgError:
        return None
    poles, V, W = poles.astype(complex), V.astype(complex), W.astype(complex)
    if not (np.isfinite(W).all() and np.isfinite(V).all()):
        return None
    low = np.zeros(n, complex)
    if n <= refined:
        V, poles, low = _refined(A, V, W, poles)
    g = gamma(n)
    absV, absW = np.abs(V).astype(float) * (1 + 4 * UNIT), np.abs(W)
    g_V = 1.0 * (n + 6) * EXTENDED if n <= refined else g
    defect = np.abs((np.eye(n) - W @ V).astype(complex)) * (1 + 4 * UNIT) + g_V * (absW @ absV) * (1 + g)
    rows = defect.sum(axis=1) * (1 + g)
    if not rows.max(initial=0.0) < 0.5:
        return None

    def solve_bound(approximate: Array, rounding: Array) -> Array:
        """Elementwise bound of ``V^{-1} Y`` for Y known up to `rounding`."""
        first = np.abs(W @ approximate) + g * (absW @ np.abs(approximate)) + absW @ rounding * (1 + g)
        return np.asarray((first + rows[:, None] * 2.0 * first.max(axis=0, initial=0.0)[None, :]) * (1 + 8 * g))

    residual, rounding = _product(A, V)
    exact_poles = poles.astype(np.clongdouble) + low
    residual = residual - V.astype(np.clongdouble) * exact_poles
    F = solve_bound(*_rounded(residual, rounding + 8 * EXTENDED * absV * np.abs(poles)))
    Bm = W @ B
    Bm = Bm + W @ (B - _product(V, Bm)[0]).astype(complex)
    exact_C, rounding_C = _product(C, V)
    Cm = exact_C.astype(complex)
    back, rounding = _product(V, Bm)
    b_error = solve_bound(*_rounded(B - back, rounding + 2 * EXTENDED * np.abs(B)))
    missing, rounding_C = _rounded(exact_C - Cm, rounding_C)
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
    return ModalSum(
        poles=poles,
        low=low if n <= refined else None,
        margin=margin,
        B=Bm,
        C=Cm,
        D=system.D,
        reverse=np.zeros(n, bool),
        direct=np.zeros(n, bool),
        discrete=system.is_discrete,
        real=system.is_real,
        perturbation=Perturbation(F=F, b_error=row_norms(b_error, axis=1), c_error=row_norms(c_error, axis=0)),
    )


def _refined(A: Array, V: Array, W: Array, poles: Array, *, steps: int = 3) -> tuple[Array, Array, Array]:
    """Newton steps in extended precision: eigenvectors, and poles as a float64 number plus a correction each."""
    V, values = V.astype(np.clongdouble), poles.astype(np.clongdouble)
    left, A = W.astype(np.clongdouble), A.astype(np.clongdouble)
    for _ in range(steps):
        E = left @ (A @ V - V * values)
        gaps = values[None, :] - values[:, None]
        apart = np.abs(gaps) > 8.0 * np.abs(E).max(initial=0.0)  # nearly repeated poles stay coupled: F bounds them
        correction = np.where(apart, E / np.where(apart, gaps, 1.0), 0.0)
        V, values = V + V @ correction, values + np.diag(E)
    high = values.astype(complex)
    return V, high, (values - high).astype(complex)


def _product(X: Array, Y: Array) -> tuple[Array, Array]:
    """``X @ Y`` in extended precision with an error bound; Y or X may already be extended (small systems)."""
    if np.clongdouble not in (X.dtype, Y.dtype):
        return product(X, Y)
    bound = 1.0 * (X.shape[1] + 6) * EXTENDED * (np.abs(X).astype(float) @ np.abs(Y).astype(float))
    return X.astype(np.clongdouble) @ Y.astype(np.clongdouble), bound * (1 + 1e-10)


def _rounded(value: Array, rounding: Array) -> tuple[Array, Array]:
    """Round an extended result to float64; the bound of its error grows accordingly."""
    result = value.astype(complex)
    return result, rounding + 2.0 * UNIT * np.abs(result) + TINY


def spectrum_radii(modes: ModalSum) -> Array:
    """Gershgorin: every eigenvalue of the true A lies in a disc about a computed pole with this radius, (N,)."""
    if modes.perturbation is None:
        return np.zeros(modes.poles.size)
    F = modes.perturbation.F
    return np.asarray(np.minimum(F.sum(axis=1), np.inf) * (1 + gamma(F.shape[0])))
