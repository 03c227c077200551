r"""How a number that depends on the outputs of a system along a record changes with its poles and B: adjoint states.

With :math:`g_t` the gradient of a number with respect to the output at time t, the adjoint states
:math:`a_t=C^Tg_t+\Lambda a_{t+1}` are a scan backwards in time, and a change moves the number by

.. math:: 2\,\Re\sum_t a_t^T(\delta B\,u_t+\delta\Lambda\,x_{t-1}),\qquad
          \delta\lambda_i=\lambda_i\,\delta\log\lambda_i.

The direction that runs backwards has its adjoint forwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.systems.scan import Record, drive, scan
from theory.systems.system import DiagonalStateSpace

Array = NDArray[Any]


def pole_and_input_derivatives(
    system: DiagonalStateSpace, signals: Record, gradients: Sequence[Array], directions: Array | None
) -> Array:
    """Return the derivatives along the steps of :func:`theory.reduction.pole_steps.moved_system`, of every sequence.

    Parameters
    ----------
    system : DiagonalStateSpace
        Discrete time, conjugate pairs; one system, or a batch of H scalar ones (S4D).
    signals : Record
        N sequences of inputs.
    gradients : sequence of R ndarrays, shape (N, L, p)
        Of R numbers with respect to the outputs; p is H for a batch. Zero past the end of a sequence.
    directions : ndarray, shape (m, q), or None
        Of the inputs; None leaves B out, as q = 0 does.

    Returns
    -------
    ndarray, shape (N, R, H n (q + 1) 2)
        H is 1 for one system.

    Notes
    -----
    The states do not depend on the numbers: they are scanned once for all R.
    """
    found = _one_way(system, signals, gradients, system.C, system.delay, directions)
    if system.C_reverse is not None:
        turned = (Record(values=g, lengths=signals.lengths).reversed().values for g in gradients)
        back = [values if signals.is_full else values * signals.mask[..., None] for values in turned]
        found = found + _one_way(system, signals.reversed(), back, system.C_reverse, system.delay_reverse, directions)
    return np.stack([2.0 * found.real, -2.0 * found.imag], axis=-1).reshape(*found.shape[:2], -1)


def _one_way(
    system: DiagonalStateSpace,
    signals: Record,
    gradients: Sequence[Array],
    C: Array,
    delay: int,
    directions: Array | None,
) -> Array:
    """Sums over time of adjoint states times inputs and times the states before, (N, R, ..., n, q + 1)."""
    values = signals.values if signals.is_full else signals.values * signals.mask[..., None]
    still = np.zeros((len(values), *system.poles.shape), complex)
    states = scan(system.poles, drive(system, values), still)[0]
    inputs = None if directions is None else values @ directions
    found = []
    for gradient in gradients:
        adjoint = _seen(system, gradient, C, delay)
        scan(system.poles, adjoint[:, ::-1], still)  # in place
        along = np.einsum("nl...,nl...->n...", adjoint[:, 1:], states[:, :-1])[..., None] * system.poles[..., None]
        if inputs is not None:
            flat = np.swapaxes(adjoint.view(float), 1, 2) @ inputs  # rows: real and imaginary parts in turn
            along = np.concatenate([flat[:, 0::2] + 1j * flat[:, 1::2], along], axis=-1)
        found.append(along)
    return np.stack(found, axis=1)


def _seen(system: DiagonalStateSpace, gradient: Array, C: Array, delay: int) -> Array:
    """``C^T g`` at the times of the states that the outputs see, (N, L, ..., n); a new array."""
    if system.batch_shape:
        seen = np.asarray(gradient[..., None] * C[..., 0, :], dtype=complex)
    else:
        seen = (gradient.astype(float) @ np.ascontiguousarray(C).view(float).reshape(C.shape[0], -1)).view(complex)
    if delay:  # the output sees what the state was a sample before
        seen = np.concatenate([seen[:, 1:], np.zeros_like(seen[:, :1])], axis=1)
    return seen
