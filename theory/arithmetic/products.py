r"""Matrix products beyond float64 at BLAS speed, with error bounds: residuals that are not all rounding.

Ozaki's scheme (Ozaki, Ogita, Oishi, Rump, Numer. Algorithms 59, 2012): the rows of X and the columns of Y are cut into
slices of so few bits that the product of two slices is exact in float64. The exact products are summed in extended
precision with compensation (Knuth's two-sum), so that a sum that cancels loses nothing. What is left out is below
:math:`2^{-100}` of the row and column maxima.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.exact import two_sum
from theory.arithmetic.rounding import EXTENDED

Array = NDArray[Any]


def product(X: Array, Y: Array, *, minus: Array | Sequence[Array] = (), precision: int = 100) -> tuple[Array, Array]:
    """Return ``X @ Y - minus`` in extended precision (complex) and an elementwise bound of its error (float64).

    Several matrices `minus` are all taken away. The error is a unit of extended precision of the *result*, plus
    ``2**-precision`` of the factors.
    """
    n = X.shape[1]
    bits = (53 - int(np.ceil(np.log2(max(n, 2)))) - 2) // 2
    count = -(-precision // bits)
    total, missing = _Sums(X.shape[0], Y.shape[1]), 0.0
    size, terms = np.abs(X) @ np.abs(Y), 4 * count * count
    for part in (minus,) if isinstance(minus, np.ndarray) else minus:
        total.add(0, -part.real.astype(np.longdouble))
        total.add(1, -part.imag.astype(np.longdouble))
        size = size + np.abs(part).astype(float)
    for left, turned in _parts(X):
        slices, left_size = _slices(left, 1, bits, count)
        outer = np.concatenate(slices, axis=1)
        for right, again in _parts(Y):
            slices, right_size = _slices(right, 0, bits, count)
            inner = np.concatenate(slices[::-1], axis=0)
            turns = turned + again
            for last in range(count):
                # slices i and last - i for all i at once: multiples of one unit, at most 2**53 of it, hence exact
                level = outer[:, : (last + 1) * n] @ inner[(count - 1 - last) * n :]
                level = (-level if turns == 2 else level).astype(np.longdouble)
                total.add(turns % 2, level)
            missing = missing + 2.0 * (count + 2) * n * 2.0 ** (-bits * count) * left_size * right_size
    whole = total.whole()
    bound = missing + 2.0 * EXTENDED * np.abs(whole).astype(float) + (terms * EXTENDED) ** 2 * size
    return whole, bound * (1 + 1e-10)


class _Sums:
    """Real and imaginary parts, in extended precision, each with the sum of what its own sum cut off."""

    def __init__(self, rows: int, columns: int) -> None:
        self.heads: list[Array] = [np.zeros((rows, columns), np.longdouble) for _ in range(2)]
        self.tails: list[Array] = [np.zeros((rows, columns), np.longdouble) for _ in range(2)]

    def add(self, part: int, term: Array) -> None:
        """Add to the real part, 0, or the imaginary one, 1."""
        self.heads[part], cut = two_sum(self.heads[part], term)
        self.tails[part] += cut

    def whole(self) -> Array:
        """Return the complex sum."""
        result = (self.heads[0] + self.tails[0]).astype(np.clongdouble)
        result.imag = self.heads[1] + self.tails[1]
        return result


def _parts(X: Array) -> list[tuple[Array, int]]:
    """Real matrices, and the powers of the imaginary unit that they are multiplied by."""
    if X.dtype.kind != "c":
        return [(X, 0)]
    return [(np.ascontiguousarray(X.real), 0), (np.ascontiguousarray(X.imag), 1)]


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
