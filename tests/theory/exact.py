"""Float64 data taken as exact: matrices in mpmath, and whether one is positive definite, in 60 digits.

A float64 matrix that a proof accepts by a hair has an exact counterpart; this is where that one is looked at. 60 digits
are 44 more than the data have: no conclusion here depends on their rounding.
"""

from __future__ import annotations

import os
from typing import Any

import mpmath as mp
import numpy as np

DIGITS = 60


def draws(usual: int) -> int:
    """How many examples to draw: `usual`, and forty times as many in the nightly profile."""
    return usual * (40 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 1)


def number(x: Any) -> Any:
    """A float64 or complex128 number, exactly; real where its type is."""
    return mp.mpc(complex(x)) if np.iscomplexobj(x) else mp.mpf(float(x))


def matrix(array: Any) -> mp.matrix:
    """A float64 or complex128 matrix, exactly."""
    array = np.asarray(array)
    return mp.matrix([[number(x) for x in row] for row in array]) if array.size else mp.matrix(*array.shape)


def positive_definite(hermitian: mp.matrix) -> bool:
    """Whether all pivots of Gaussian elimination on a Hermitian matrix of mpmath numbers are positive."""
    rest, n = hermitian.copy(), hermitian.rows
    for k in range(n):
        pivot = mp.re(rest[k, k])
        if pivot <= 0:
            return False
        for i in range(k + 1, n):
            factor = rest[i, k] / pivot
            for j in range(k + 1, i + 1):
                rest[i, j] -= factor * mp.conj(rest[j, k])
    return True
