"""The only source of tolerances: computed from eps, the size of the problem and its conditioning."""

from __future__ import annotations

import numpy as np

EPS = float(np.finfo(np.float64).eps)


def tol(n: int = 1, cond: float = 1.0, dtype: type = np.float64) -> float:
    """Relative tolerance ``64 (n + 1) eps cond`` of a backward stable computation of size `n` and condition `cond`.

    64 leaves room for the constants of a handful of chained factorizations; it never stands in for a condition number.
    """
    return 64.0 * (n + 1) * float(np.finfo(dtype).eps) * max(1.0, float(cond))


def relative(got: np.ndarray, wanted: np.ndarray) -> float:
    """Largest entry of the difference over the largest entry of what is wanted (absolute where that is zero)."""
    wanted = np.asarray(wanted)
    scale = float(np.abs(wanted).max(initial=0.0))
    gap = float(np.abs(np.asarray(got) - wanted).max(initial=0.0))
    return gap / scale if scale > 0 else gap
