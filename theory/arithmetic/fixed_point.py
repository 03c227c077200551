r"""Real matrices of Python integers in units of :math:`2^{-b}`: as many digits as a proof needs, and no rounding in it.

A float64 number is an integer times a power of two, so sums and products of float64 matrices *are* integers in a small
enough unit. What only has to be near (powers, square roots, quotients) is cut to `bits` behind the binary point; what
a proof rests on (a residual) is multiplied out in full, and exact. NumPy's arrays of objects do the loops.

Measured on one core (300 bits): a product of two 10 x 10 matrices takes 0.3 ms, 20 x 20 takes 1.5 ms, 50 x 50 takes
45 ms; the balls of python-flint take 0.03, 0.15 and 2 to 6 ms. Systems of up to a few dozen states are proved within a
second either way, so the proof needs no other package.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

MULTIPLICATION = 200.0, 1.0 / 2000.0
"""Nanoseconds that multiplying and adding two integers of b bits takes on one core: a constant, and a factor of b b."""

MOST_WORK = 1e10
"""Nanoseconds, by that count, that a proof may cost: ten seconds on one core, whatever the machine is busy with."""


class Exhausted(ArithmeticError):
    """The work of a proof came to its limit."""


@dataclass
class Work:
    """What a proof may still cost, in nanoseconds by :data:`MULTIPLICATION`: counted, not measured."""

    left: float = MOST_WORK

    def spend(self, products: float, n: int, bits: int) -> None:
        """Count `products` products of matrices of n rows.

        Raises
        ------
        Exhausted
            Before anything is done: there is not so much left.
        """
        constant, factor = MULTIPLICATION
        self.left -= products * float(n) ** 3 * (constant + factor * float(bits) ** 2)
        if self.left < 0.0:
            raise Exhausted


def bits_behind_the_point(*matrices: Array) -> int:
    """Return the least number of bits that writes every entry of the float64 matrices exactly."""
    entries = (float(x) for matrix in matrices for x in matrix.ravel())
    return max((x.as_integer_ratio()[1].bit_length() - 1 for x in entries), default=0)


def fixed(matrix: Array, bits: int) -> Array:
    """Return a float64 matrix as integers in units of ``2**-bits``, exactly.

    Raises
    ------
    ValueError
        An entry has more bits behind the point.
    """
    result = np.zeros(matrix.shape, dtype=object)
    for index, x in np.ndenumerate(matrix):
        numerator, denominator = float(x).as_integer_ratio()
        if denominator > 1 << bits:
            raise ValueError(f"{x!r} has more than {bits} bits behind the point")
        result[index] = numerator * ((1 << bits) // denominator)
    return result


def identity(n: int, bits: int) -> Array:
    """Return the identity, (n, n)."""
    result = np.zeros((n, n), dtype=object)
    result[np.diag_indices(n)] = 1 << bits
    return result


def product(X: Array, Y: Array, bits: int) -> Array:
    """Return ``X @ Y``, every entry rounded to the nearest unit."""
    return cut(X @ Y, bits) if X.shape[1] else np.zeros((X.shape[0], Y.shape[1]), dtype=object)


def cut(X: Array, bits: int) -> Array:
    """Return `X` in units that are ``2**bits`` times as large, rounded to the nearest."""
    return np.asarray((X + (1 << bits - 1)) >> bits)


def size(X: Array) -> int:
    """Return an upper bound of the Frobenius norm, in the unit of `X`; exact but for the rounding up."""
    total = int((X * X).sum()) if X.size else 0
    return math.isqrt(total) + (1 if total else 0)


def above(value: int, bits: int) -> float:
    """Return a float64 not below ``value / 2**bits``, for a value that is not negative; ``inf`` past the largest."""
    try:
        number = value / (1 << bits)
    except OverflowError:
        return math.inf
    return math.nextafter(number, math.inf) if value else 0.0


def nearest(X: Array, bits: int) -> Array:
    """Return the float64 matrix next to `X`, every entry rounded once.

    Raises
    ------
    OverflowError
        An entry is larger than the largest float64.
    """
    unit = 1 << bits
    return np.array([x / unit for x in X.ravel()], dtype=float).reshape(X.shape)


def cholesky(S: Array, bits: int) -> Array:
    """Return a lower triangular ``L`` with ``L L^T`` near the positive semidefinite `S`; dependent columns are zero.

    How near is for the caller to prove; a pivot below `n` units counts as zero.
    """
    n = S.shape[0]
    S, L = S.copy(), np.zeros((n, n), dtype=object)
    for k in range(n):
        pivot = int(S[k, k])
        if pivot <= n:
            continue
        root = math.isqrt(pivot << bits)
        column = (S[k:, k] << bits) // root
        L[k:, k] = column
        S[k + 1 :, k + 1 :] -= np.multiply.outer(column[1:], column[1:]) >> bits
    return L


def inverse(X: Array, bits: int) -> Array | None:
    """Return a matrix near the inverse, by Gauss-Jordan steps with row pivots; ``None`` where a pivot vanishes."""
    n = X.shape[0]
    work = np.concatenate([X, identity(n, bits)], axis=1)
    for k in range(n):
        best = max(range(k, n), key=lambda i: abs(int(work[i, k])))
        if work[best, k] == 0:
            return None
        work[[k, best]] = work[[best, k]]
        work[k] = (work[k] << bits) // int(work[k, k])
        for i in range(n):
            if i != k and work[i, k] != 0:
                work[i] -= (int(work[i, k]) * work[k]) >> bits
    return work[:, n:]


def orthogonal_columns(M: Array, bits: int, work: Work | None = None, *, most_sweeps: int = 60) -> Array:
    """Return a nearly orthogonal ``V`` such that the columns of ``M V`` are nearly orthogonal: one-sided Jacobi.

    How near is for the caller to prove. The columns of ``M V`` come in descending length.

    Raises
    ------
    Exhausted
        A sweep, which costs as much as four products, is more than `work` has left.
    """
    work = Work(math.inf) if work is None else work
    n = M.shape[1]
    N, V, one = M.T.copy(), identity(n, bits), 1 << 2 * bits  # rows are the columns
    for _ in range(most_sweeps):
        work.spend(4, n, bits)
        order = sorted(range(n), key=lambda i: -int((N[i] * N[i]).sum()))
        N, V, turned = N[order], V[order], False
        for i in range(n - 1):
            for j in range(i + 1, n):
                c = int((N[i] * N[j]).sum())
                a, b = int((N[i] * N[i]).sum()), int((N[j] * N[j]).sum())
                if abs(c) <= n << bits:
                    continue
                turned = turned or c * c << bits > a * b  # smaller angles are gone after one more rotation
                tau = ((b - a) << bits) // (2 * c)
                t = one // (abs(tau) + math.isqrt(one + tau * tau))
                t = -t if tau < 0 else t
                cosine = one // math.isqrt(one + t * t)
                sine = t * cosine >> bits
                N[i], N[j] = (cosine * N[i] - sine * N[j]) >> bits, (sine * N[i] + cosine * N[j]) >> bits
                V[i], V[j] = (cosine * V[i] - sine * V[j]) >> bits, (sine * V[i] + cosine * V[j]) >> bits
        if not turned:
            break
    return V.T
