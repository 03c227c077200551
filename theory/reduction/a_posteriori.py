r"""A bound that every reduction has: from the Hankel singular values of the error itself.

.. math:: \|G-G_r\|_\infty\le 2\sum_i\sigma_i(G-G_r)

holds for every stable :math:`G-G_r` without feedthrough :cite:p:`G84`, each distinct value once: truncating all states
of the error is a balanced truncation. It is computed after the reduction, from Gramians, and needs no search along the
circle; methods without a guarantee of their own carry it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.rounding import EPS
from theory.gramians.hankel import hankel_singular_values
from theory.reduction.bounds import balanced_bound
from theory.systems.difference import difference
from theory.systems.system import DiagonalStateSpace, System

Array = NDArray[Any]


def error_bound(system: System, reduced: System, hsv: Array | None = None) -> Any:
    r"""Bound :math:`\|G-G_r\|_\infty` by twice the sum of the Hankel singular values of the error.

    Parameters
    ----------
    system, reduced : StateSpace or DiagonalStateSpace
        Stable, same time base, inputs, outputs, delays and batch. Where ``D`` differs, the norm of the difference is
        added.
    hsv : ndarray, shape (..., N), optional
        Hankel singular values of ``difference(system, reduced)``; computed when left out.

    Returns
    -------
    float
        Rounded up as :func:`theory.reduction.bounds.balanced_bound` does; twice that for a bidirectional system. An
        array for a batch.

    Raises
    ------
    StabilityError
        One of the systems is not stable.

    Notes
    -----
    ``delay=0``: on the circle :math:`|zC(zI-\Lambda)^{-1}B|` is the gain of the stored ``(poles, B, C)``, so these
    count. Two directions: outputs stacked, and :math:`\|E_1+E_2^\sim\|\le2\|[E_1;E_2]\|`. Cost: one set of Hankel
    values of n + r states.
    """
    error = difference(system, reduced)
    both = isinstance(error, DiagonalStateSpace) and error.is_bidirectional
    hsv = hankel_singular_values(error) if hsv is None else hsv
    constant = np.linalg.norm(error.D, ord=2, axis=(-2, -1)) if error.D.size else np.zeros(error.D.shape[:-2])
    bound = np.asarray(balanced_bound(hsv, 0, directions=2 if both else 1) + constant * (1.0 + 16.0 * EPS))
    return bound if bound.ndim else float(bound)
