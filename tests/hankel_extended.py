"""Hankel singular values of a diagonal system beyond float64, to judge float64 values by.

With the Gramians P and Q in 80-bit arithmetic, from the closed form, and any W, T with ``W^* T = I`` that nearly
balance, the eigenvalues of ``PQ`` are those of ``(W^* P W) (T^* Q T)``; the off-diagonal entries e of the two factors
move them by e^2 only, and W, T from float64 have e of 1e-14.
"""

from __future__ import annotations

import numpy as np

from theory.gramians.hankel import balancing_factors
from theory.systems.system import DiagonalStateSpace


def extended_hankel_singular_values(system: DiagonalStateSpace) -> tuple[np.ndarray, float]:
    """Values (2n,), descending, of one system of conjugate pairs in discrete time, and the largest e / sigma_1."""
    poles, B, C = (array.astype(np.clongdouble) for array in (system.poles, system.B, system.C))
    P, Q = 0.5 * _gramian(poles, B), 2.0 * _gramian(poles.conj(), C.conj().T)
    left, hsv, right = balancing_factors(system)
    W, T = left.astype(np.longdouble) / np.sqrt(hsv), right.astype(np.longdouble) / np.sqrt(hsv)
    for _ in range(2):  # Newton's iteration for the inverse of W^* T
        T = T @ (2 * np.eye(hsv.size, dtype=np.longdouble) - W.T @ T)
    first, second = W.T @ P @ W, T.T @ Q @ T
    values = np.sqrt(np.diag(first) * np.diag(second))
    off = max(float(np.abs(X - np.diag(np.diag(X))).max()) for X in (first, second))
    return np.sort(values)[::-1], off / float(values.max())


def _gramian(poles: np.ndarray, G: np.ndarray) -> np.ndarray:
    """Of ``sqrt(2) [Re x; Im x]``."""
    direct = (G @ G.conj().T) / (1 - poles[:, None] * poles.conj())
    mixed = (G @ G.T) / (1 - poles[:, None] * poles)
    top = np.hstack([direct.real + mixed.real, mixed.imag - direct.imag])
    return np.vstack([top, np.hstack([direct.imag + mixed.imag, direct.real - mixed.real])])
