r"""Matrix products beyond float64 at BLAS speed, with error bounds: residuals that are not all rounding.

Ozaki's scheme (Ozaki, Ogita, Oishi, Rump, Numer. Algorithms 59, 2012): the rows of X and the columns of Y are cut into
slices of so few bits that the product of two slices is exact in float64. The exact products are summed in extended
precision with compensation (Knuth's two-sum), so that a sum that cancels loses nothing. What is left out is below
:math:`2^{-100}` of the row and column maxima.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.exact import two_sum
from theory.arithmetic.rounding import EXTENDED

Array = NDArray[Any]


def product(X: Array, Y: Array, *, minus: Array | None = None, precision: int = 100) -> tuple[Array, Array]:
    """Return ``X @ Y - minus`` in extended precision (complex) and an elementwise bound of its error (float64).

    The error is a unit of extended precision of the *result*, plus ``2**-precision`` of the factors.
    """
    n = X.shape[1]
    bits = (53 - int(np.ceil(np.log2(max(n, 2)))) - 2) // 2
    count = -(-precision // bits)
    total: Array = np.zeros((X.shape[0], Y.shape[1]), np.clongdouble)
    size, terms = np.abs(X) @ np.abs(Y), 4 * count * count
    if minus is not None:
        total, size = total - minus, size + np.abs(minus).astype(float)
    lost, missing = np.zeros_like(total), np.zeros(total.shape)
    for left, unit_left in _parts(X):
        left_slices, left_size = _slices(left, 1, bits, count)
        for right, unit_right in _parts(Y):
            right_slices, right_size = _slices(right, 0, bits, count)
            for i in range(count):
                for j in range(count - i):
                    term = unit_left * unit_right * (left_slices[i] @ right_slices[j]).astype(np.longdouble)
                    total, cut = two_sum(total, term)
                    lost = lost + cut
            missing = missing + 2.0 * (count + 2) * n * 2.0 ** (-bits * count) * left_size * right_size
    total = total + lost
    bound = missing + 2.0 * EXTENDED * np.abs(total).astype(float) + (terms * EXTENDED) ** 2 * size
    return total, bound * (1 + 1e-10)


def _parts(X: Array) -> list[tuple[Array, complex]]:
    if X.dtype.kind != "c":
        return [(X, 1.0)]
    return [(np.ascontiguousarray(X.real), 1.0), (np.ascontiguousarray(X.imag), 1j)]


def _slices(X: Array, axis: int, bits: int, count: int) -> tuple[list[Array], Array]:
    """Cut X into `count` slices of `bits` bits below the largest entry along `axis`; return them and its size."""
    largest = np.abs(X).max(axis=axis, keepdims=True, initial=0.0)
    unit = 2.0 ** np.ceil(np.log2(np.where(largest > 0, largest, 1.0)))
    rest, slices = X, []
    for i in range(count):
        anchor = unit * 2.0 ** (53 - bits * (i + 1))
        part = (rest + anchor) - anchor
        slices.append(part)
        rest = rest - part  # exact
    return slices, 2.0 * unit
