r"""How a number that depends on the outputs of a system along a record changes with its poles and B: adjoint states.

With :math:`g_t` the gradient of a number with respect to the output at time t, the adjoint states
:math:`a_t=C^Tg_t+\Lambda a_{t+1}` are a scan backwards in time, and a change moves the number by

.. math:: 2\,\Re\sum_t a_t^T(\delta B\,u_t+\delta\Lambda\,x_{t-1}),\qquad
          \delta\lambda_i=\lambda_i\,\delta\log\lambda_i.

The direction that runs backwards has its adjoint forwards.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.systems.scan import Record, drive, scan
from theory.systems.system import DiagonalStateSpace

Array = NDArray[Any]


def pole_and_input_derivatives(
    system: DiagonalStateSpace, signals: Record, gradients: Array, directions: Array | None
) -> Array:
    """Return the derivatives along the steps of :func:`theory.reduction.pole_steps.moved_system`, of every sequence.

    Parameters
    ----------
    system : DiagonalStateSpace
        Discrete time, conjugate pairs; one system, or a batch of H scalar ones (S4D).
    signals : Record
        N sequences of inputs.
    gradients : ndarray, shape (N, L, p)
        With respect to the outputs; p is H for a batch. Zero past the end of a sequence.
    directions : ndarray, shape (m, q), or None
        Of the inputs; None leaves B out, as q = 0 does.

    Returns
    -------
    ndarray, shape (N, H n (q + 1) 2)
        H is 1 for one system.
    """
    found = _one_way(system, signals, gradients, system.C, system.delay, directions)
    if system.C_reverse is not None:
        counts = Record(values=gradients, lengths=signals.lengths)
        back = counts.reversed().values * signals.mask[..., None]
        found = found + _one_way(system, signals.reversed(), back, system.C_reverse, system.delay_reverse, directions)
    return np.stack([2.0 * found.real, -2.0 * found.imag], axis=-1).reshape(len(found), -1)


def _one_way(
    system: DiagonalStateSpace, signals: Record, gradients: Array, C: Array, delay: int, directions: Array | None
) -> Array:
    """Sums over time of adjoint states times inputs and times the states before, (N, ..., n, q + 1)."""
    if system.batch_shape:
        seen = gradients[..., None] * C[..., 0, :]  # (N, L, H, n)
    else:
        seen = (gradients.astype(float) @ np.ascontiguousarray(C).view(float).reshape(C.shape[0], -1)).view(complex)
    if delay:  # the output sees what the state was a sample before
        seen = np.concatenate([seen[:, 1:], np.zeros_like(seen[:, :1])], axis=1)
    still = np.zeros((len(seen), *system.poles.shape), complex)
    adjoint = scan(system.poles, np.ascontiguousarray(seen[:, ::-1], dtype=complex), still)[0][:, ::-1]
    values = signals.values * signals.mask[..., None]
    states = scan(system.poles, drive(system, values), still)[0]
    before = np.sum(adjoint[:, 1:] * states[:, :-1], axis=1) * system.poles
    if directions is None:
        return np.asarray(before[..., None])
    inputs = np.swapaxes(adjoint, 1, 2) @ (values @ directions)
    return np.concatenate([inputs, before[..., None]], axis=-1)
