r"""What an exact inverse does to a matrix, bounded through an approximate inverse that is only nearly right.

For a computed W near :math:`V^{-1}` with :math:`\|I-WV\|_\infty<\tfrac12`, :math:`V` is regular and

.. math:: |V^{-1}Y| \le |WY| + 2\,|I-WV|\mathbf 1\,\max_i|WY|_{i\cdot},

because :math:`V^{-1}Y=(WV)^{-1}WY=\sum_k(I-WV)^kWY` (Neumann; Rump, Acta Numerica 19, 2010).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from theory.arithmetic.rounding import TINY, UNIT, gamma

Array = NDArray[Any]


def is_regular(V: Array, W: Array) -> bool:
    r"""Whether an approximate inverse `W` proves that `V`, (n, n), is regular, however its rows and columns are scaled.

    With :math:`E\ge|I-WV|` elementwise, rounding included, WV is regular if the spectral radius of E is below one, and
    that it is if :math:`Ex<x` for one positive x (Collatz); :math:`x=(I-E)^{-1}\mathbf 1` is the candidate. The
    radius of :math:`|V^{-1}||V|` is the condition number of V under its best scaling (Bauer, Numer. Math. 5, 1963): a
    triangular matrix, and one whose states come in units far apart, are not refused for that.
    """
    n, size = V.shape[0], np.abs(W)
    with np.errstate(all="ignore"):
        E = np.abs(np.eye(n) - W @ V) * (1 + 4 * UNIT) + gamma(n) * (size @ np.abs(V))
        E = E * (1 + gamma(n)) + TINY
        if not np.isfinite(E).all():
            return False
        _, (units, _) = scipy.linalg.matrix_balance(E, permute=False, separate=True)  # powers of two: exact
        E = E * units / units[:, None] + TINY
        try:
            x = np.linalg.solve(np.eye(n) - E, np.ones(n))
        except np.linalg.LinAlgError:
            return False
        return bool((x > 0).all() and (E @ x * (1 + gamma(n)) < x).all())


@dataclass(frozen=True, kw_only=True)
class NearInverse:
    """A computed inverse `W` (n, n), its absolute values, and bounds `rows` (n,) of the row sums of ``|I - W V|``."""

    W: Array
    size: Array
    rows: Array

    @classmethod
    def of(cls, V: Array, W: Array, *, low: Array | None = None) -> NearInverse | None:
        """Verify `W` as an inverse of `V`, or of ``V + low`` for a correction `low`; ``None`` where it is too far off.

        Notes
        -----
        The defect is bounded with its rounding: :math:`\\gamma_n|W||V|` for the product, two units for the difference.
        """
        n, size = V.shape[0], np.abs(W)
        g = gamma(n)
        defect, size_V = np.abs(np.eye(n) - W @ V) * (1 + 4 * UNIT), np.abs(V)
        if low is not None:
            defect, size_V = defect + size @ np.abs(low), (size_V + np.abs(low)) * (1 + 4 * UNIT)
        rows = (defect + g * (size @ size_V) * (1 + g)).sum(axis=1) * (1 + g)
        return cls(W=W, size=size, rows=rows) if rows.max(initial=0.0) < 0.5 else None

    def bound(self, Y: Array, error: Array) -> Array:
        """Elementwise bound of ``|V^{-1} Y|`` for all Y within `error` (elementwise) of the computed one, (n, k)."""
        g = gamma(self.W.shape[0])
        first = np.abs(self.W @ Y) + g * (self.size @ np.abs(Y)) + self.size @ error * (1 + g)
        return np.asarray((first + self.rows[:, None] * 2.0 * first.max(axis=0, initial=0.0)[None, :]) * (1 + 8 * g))
