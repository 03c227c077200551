r"""Gramians over a finite horizon: what can be reached, and seen, within L samples.

.. math:: P_L=\sum_{k<L}A^kBB^*A^{*k},\qquad Q_L=\sum_{k<L}A^{*k}C^*CA^k

A pole at 1e-7 from the circle rules an infinite Gramian; over the length of a task's sequences it does not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.errors import InputError, TimeBaseError
from theory.gramians.gramians import _closed_form as closed_form
from theory.gramians.gramians import _gaps as gaps
from theory.gramians.gramians import _real_form as real_form
from theory.gramians.gramians import stacked_output
from theory.systems.given import SystemLike, as_system

Array = NDArray[Any]


def time_limited_gramians(system: SystemLike, horizon: int) -> tuple[Array, Array]:
    r"""Return :math:`(P_L,Q_L)` of a diagonal system, in closed form.

    .. math:: (P_L)_{ij}=(BB^*)_{ij}\,\frac{1-(\lambda_i\bar\lambda_j)^L}{1-\lambda_i\bar\lambda_j}

    Parameters
    ----------
    system : DiagonalStateSpace
        Discrete time, poles in the closed unit disc (a finite horizon needs no margin); a batch gives a batch.
    horizon : int
        L, at least 1; for a layer, the length of the task's sequences.

    Returns
    -------
    P, Q : ndarray, shape (..., N, N)
        Coordinates and stacking of two directions as in :func:`theory.gramians.gramians.gramians`.

    Raises
    ------
    TimeBaseError, InputError

    Notes
    -----
    The quotient is :math:`-\mathrm{expm1}(L\log(1-g))/g` with the gap :math:`g=1-\lambda_i\bar\lambda_j` free of
    cancellation; its limit L is taken where g = 0. Accurate to a few eps times L g, which is at most the logarithm of
    what is left of the mode. :cite:p:`GJ90`
    """
    system = as_system(system, diagonal=True)
    if not system.is_discrete:
        raise TimeBaseError("a horizon is a number of samples: the system must run in discrete time", system.dt)
    if isinstance(horizon, (bool, np.bool_)) or not isinstance(horizon, (int, np.integer)) or horizon < 1:
        raise InputError(f"the horizon is a whole number of samples, at least 1, got {horizon!r}")
    if (system.margin < 0).any():
        raise InputError("a pole lies outside the unit disc; drop it or clip it as the model would")
    denominators = gaps(system.poles, True)
    weights = tuple(_geometric(gap, int(horizon)) for gap in denominators)
    mirrored = tuple(weight.conj() for weight in weights)
    P, P_mixed = closed_form(system.B, (weights[0], weights[1]))
    Q, Q_mixed = closed_form(np.swapaxes(stacked_output(system), -1, -2).conj(), (mirrored[0], mirrored[1]))
    if not system.conjugate_pairs:
        return P, Q
    return 0.5 * real_form(P, P_mixed), 2.0 * real_form(Q, Q_mixed)


def _geometric(gap: Array, horizon: int) -> Array:
    """``(1 - gap) / (1 - (1 - gap)^L)`` inverted: the denominators that the closed form divides by."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithm = np.where(np.abs(gap) < 0.5, _log1p(-gap), np.log(1.0 - gap))
        total = np.where(gap == 0, complex(horizon), -np.expm1(horizon * logarithm) / gap)
    total = np.where(gap == 1, 1.0, total)  # one of the poles is zero: the first term alone
    return np.asarray(1.0 / total)


def _log1p(x: Array) -> Array:
    """``log(1 + x)`` of a complex array, without cancellation for small x."""
    real = 0.5 * np.log1p(x.real * (2.0 + x.real) + x.imag**2)
    return np.asarray(real + 1j * np.arctan2(x.imag, 1.0 + x.real))
