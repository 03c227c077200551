r"""What an exact inverse does to a matrix, bounded through an approximate inverse that is only nearly right.

For a computed W near :math:`V^{-1}` with :math:`\|I-WV\|_\infty<\tfrac12`, :math:`V` is regular and

.. math:: |V^{-1}Y| \le |WY| + 2\,|I-WV|\mathbf 1\,\max_i|WY|_{i\cdot},

because :math:`V^{-1}Y=(WV)^{-1}WY=\sum_k(I-WV)^kWY` (Neumann; Rump, Acta Numerica 19, 2010).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.rounding import UNIT, gamma

Array = NDArray[Any]


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
