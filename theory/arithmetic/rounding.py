r"""Rounding in the proofs: the a-priori bounds that the norms use, in one place.

Standard model: :math:`fl(x \circ y) = (x \circ y)(1+\delta),\ |\delta|\le u` with ``u = 2**-53`` (Higham,
*Accuracy and Stability of Numerical Algorithms*, 2nd ed., eq. 2.4). A dot product of length n carries
:math:`\gamma_n = nu/(1-nu)` times the dot product of the absolute values, in any order of summation (eq. 3.5);
a complex one :math:`\gamma_{n+2}` with a factor sqrt(2) (lemma 3.5, section 3.6). All helpers round upwards by a
safety factor instead of switching the rounding mode, which NumPy cannot do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

UNIT = 2.0**-53
"""Unit roundoff u of float64: the largest relative error of one operation."""

EPS = 2.0 * UNIT
"""From 1 to the next number: the eps of NumPy and LAPACK, in which tolerances like ``N eps sigma_1`` are stated."""

EXTENDED = float(np.finfo(np.longdouble).eps)
"""The same of extended precision; EPS where the platform has none."""

TINY = 1e-290
"""Absolute slack for underflow: systems are scaled to norm one before any bound is taken."""


OPERATIONS_4, OPERATIONS_40, OPERATIONS_400, OPERATIONS_4000, OPERATIONS_40000 = 1e-15, 1e-14, 1e-13, 1e-12, 1e-11
"""Relative: each is more than what so many roundings, of terms of one sign, add up to (2.2e-16 each)."""

SECOND_ORDER = 1.01
"""Covers products of relative errors, each far below one percent, in what is bounded to first order."""

SMALLEST = 1e-300
"""Keeps a divisor or a width positive; systems are of size one, so that nothing true is this small."""


def gamma(n: int) -> float:
    r"""Return a bound of :math:`\gamma_n` for complex dot products of length `n`: ``1.5 (n+4) u / (1 - (n+4) u)``.

    Covers Higham's real (eq. 3.5) and complex (section 3.6: ``sqrt(2) gamma_{n+2}``) dot products.
    """
    x = (n + 4) * UNIT
    return 1.5 * x / (1.0 - x)


def up(value: Any, operations: int = 16) -> Any:
    """Round a nonnegative quantity, computed with at most `operations` roundings of nonnegative terms, upwards."""
    return value * (1.0 + 2.0 * (operations + 2) * UNIT) + TINY


def down(value: Any, operations: int = 16) -> Any:
    """Round a nonnegative quantity downwards in the same sense; never below zero."""
    return np.maximum(value * (1.0 - 2.0 * (operations + 2) * UNIT) - TINY, 0.0)


def row_norms(matrix: Array, axis: int = -1) -> Array:
    """Upper bounds of the Euclidean norms along `axis`."""
    size = np.abs(matrix)
    largest = size.max(axis=axis, initial=0.0, keepdims=True)
    scale = np.where(largest > 0, largest, 1.0)
    result: Array = up(np.linalg.norm(size / scale, axis=axis) * np.squeeze(largest, axis), matrix.shape[axis] + 4)
    return result


def frobenius(matrix: Array) -> Any:
    """Upper bound of the Frobenius norm of the last two axes, hence of the spectral norm."""
    size = matrix.shape[-1] * matrix.shape[-2]
    return up(np.sqrt(np.sum(matrix.real**2 + matrix.imag**2, axis=(-2, -1))), size + 4)
