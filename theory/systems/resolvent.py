r"""Verified inverses along the stability boundary: how large the resolvent of a dense matrix is, without eigenvectors.

With a computed inverse :math:`g` at the centre of an arc (circle: :math:`(z_0I-A)^{-1}`, axis:
:math:`(j\omega_0I-A)^{-1}`, near infinity: :math:`(I+j\tau_0A)^{-1}`), the resolvent in the local coordinate t is
exactly :math:`g(I+jtQ)^{-1}` up to a scalar factor, with

.. math:: Q = 2z_0g-I \text{ (circle)},\; g \text{ (axis)},\; Ag \text{ (infinity)}.

:math:`\|(I+jtQ)^{-1}\|` is bounded on the arc by a Neumann series of four terms and :math:`\|Q^4\|`, which needs no
eigenvectors. The inverse is verified: :math:`\|I-gM\|_\infty\le\epsilon<1/2`.
"""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.rounding import OPERATIONS_4000, SECOND_ORDER, UNIT, frobenius, gamma, up
from theory.systems.boundary import AXIS, CIRCLE
from theory.systems.margin import discrete_margin

Array = NDArray[Any]

CONVERGENT = 0.5
"""A Neumann series is summed where its ratio is below this: its sum is then at most twice its first terms."""


class Inverse(NamedTuple):
    """Inverses g (S, n, n), the factors beta (S,) of t, and bounds (S,) of the relative error of g in any norm."""

    g: Array
    beta: Array
    relative: Array


class Neumann(NamedTuple):
    """On arcs: Q (S, n, n), bounds of its norm, the relative rounding of products with g, and of ``|(I+jtQ)^{-1}|``."""

    Q: Array
    size: Array
    noise: Array
    bound: Array


def verified_inverse(A: Array, chart: str, x: Array) -> Inverse:
    """Invert ``zI - A``, ``j w I - A`` or ``I + j tau A`` at the points `x`, (S,); on failure its error is inf."""
    n = A.shape[0]
    eye = np.eye(n)
    if chart == CIRCLE:
        z = np.cos(x) + 1j * np.sin(x)
        z = z + z * discrete_margin(z)  # to working precision; the remaining offset enters the defect
        matrix, beta = z[:, None, None] * eye - A, -2j * z
        entry = UNIT * 4.0 * (np.abs(A) + eye)
    elif chart == AXIS:
        matrix, beta = 1j * x[:, None, None] * eye - A, np.full(x.size, -1j)
        entry = UNIT * 2.0 * (np.abs(A) + np.abs(x)[:, None, None] * eye)
    else:
        matrix, beta = eye + 1j * x[:, None, None] * A, np.full(x.size, -1j)
        entry = UNIT * 4.0 * (np.abs(A) * np.abs(x)[:, None, None] + eye)
    g = _inverses(matrix)
    size = np.abs(g)
    defect = np.abs(eye - g @ matrix) + gamma(n) * (size @ np.abs(matrix)) + size @ entry
    epsilon = up(np.linalg.norm(defect, axis=(-2, -1)), n * n + 8)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(epsilon < CONVERGENT, epsilon / (1.0 - epsilon), np.inf)
    return Inverse(g, beta, np.where(np.isnan(relative), np.inf, relative))


def neumann(A: Array, chart: str, inverse: Inverse, h: Array) -> Neumann:
    """Bound ``|(I + j t Q)^{-1}|`` on the arcs ``|t| <= h``."""
    n, (g, beta, relative) = A.shape[0], inverse
    if chart == CIRCLE:
        Q = 1j * beta[:, None, None] * g - np.eye(n)
    else:
        Q = g if chart == AXIS else A @ g
    size_g = frobenius(g)
    noise = relative + gamma(n + 8)
    if chart == CIRCLE:
        noise_q = noise * (2.0 * size_g + np.sqrt(n))
    else:
        noise_q = noise * size_g * (1.0 if chart == AXIS else frobenius(A[None]))
    size_q = frobenius(Q) + noise_q
    Q2 = Q @ Q
    Q4 = Q2 @ Q2
    q2 = frobenius(Q2) + 2.0 * noise_q * size_q * (1 + gamma(n)) + gamma(n) * size_q**2
    q4 = frobenius(Q4) + 4.0 * noise_q * size_q**3 * (1 + gamma(n)) + 3.0 * gamma(n) * size_q**4
    q2, q4 = np.fmin(q2, size_q**2), np.fmin(q4, q2**2)
    x = h * size_q
    squared = h * h * q2
    cubed = np.fmin(x * squared, x**3)
    fourth = h**4 * q4
    quartic = (1.0 + x + squared + cubed) / (1.0 - np.minimum(fourth, CONVERGENT))
    bound = np.where(fourth < CONVERGENT, quartic, np.inf)
    linear = np.where(x < CONVERGENT, 1.0 / (1.0 - np.minimum(x, CONVERGENT)), np.inf)
    return Neumann(Q, size_q, noise, (1 + OPERATIONS_4000) * np.fmin(bound, linear))


def resolvent_bound(chart: str, centre: Array, h: Array, inverse: Inverse, series: Neumann) -> Array:
    """Bounds of ``|(zI - A)^{-1}|``, or ``|(j w I - A)^{-1}|``, on the arcs ``|t| <= h``, (S,)."""
    bound = SECOND_ORDER * frobenius(inverse.g) * (1.0 + inverse.relative) * series.bound
    if chart == CIRCLE:
        bound = bound * (1.0 + h * h)
    elif chart != AXIS:
        bound = bound * (np.abs(centre) + h)
    return np.where(np.isfinite(bound), bound, np.inf)


def _inverses(stack: Array) -> Array:
    """Invert every matrix of a stack; NaN for the singular ones."""
    try:
        return np.asarray(np.linalg.inv(stack))
    except np.linalg.LinAlgError:
        result = np.full(stack.shape, np.nan + 0j)
        for index, matrix in enumerate(stack):
            with contextlib.suppress(np.linalg.LinAlgError):
                result[index] = np.linalg.inv(matrix)
        return result
