r"""Steps of poles and of B: in :math:`\log\lambda_i` and along principal directions of the inputs; always stable.

A pole keeps a part of its decay, and no pole becomes slower than what a record can see, whatever the step says.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.systems.scan import Record
from theory.systems.system import DiagonalStateSpace

Array = NDArray[Any]

LEAST_DECAY = 0.2
"""A step leaves at least this part of ``log|pole|``: poles never reach the circle."""

LARGEST_MOVE = 0.3
"""Largest change of ``log(pole)`` in one step, and of a row of B relative to its norm."""

SLOWEST = 0.01
"""Decay over the longest sequence below which no pole is moved: the record does not see it, other inputs may."""


def slowest_decay(given: Record) -> float:
    """Return the decay a sample below which no pole is moved."""
    return SLOWEST / max(1, int(given.lengths.max(initial=1)))


def principal_inputs(given: Record, most: int) -> Array:
    """Return orthonormal directions of the inputs with the largest second moments, (m, q), at most so many."""
    flat = given.values[given.mask]
    values, vectors = np.linalg.eigh(flat.T @ flat)
    order = np.argsort(values)[::-1][:most]
    kept = order[values[order] > 1e-10 * max(values.max(), np.finfo(float).tiny)]
    return np.asarray(vectors[:, kept])


def moved_system(
    system: DiagonalStateSpace, step: Array, directions: Array | None, slowest: float
) -> DiagonalStateSpace:
    """Return the system after a step, held inside the circle.

    Parameters
    ----------
    system : DiagonalStateSpace
        In discrete time; one system, or a batch of scalar ones (S4D).
    step : ndarray, shape (H, n (q + 1) 2)
        Of every state the changes of its row of B along q directions and of the logarithm of its pole, real and
        imaginary parts in turn; H is 1 for one system.
    directions : ndarray, shape (m, q), or None
        Of the inputs; without them (q = 0) B stays.
    slowest : float
        No pole decays by less a sample that did not.
    """
    H, n = step.shape[0], system.n
    change = step.reshape(H, n, -1, 2)
    complex_step = change[..., 0] + 1j * change[..., 1]
    complex_step = complex_step if system.batch_shape else complex_step[0]
    with np.errstate(divide="ignore"):
        logarithm = np.log(np.where(system.poles == 0, 1e-30, system.poles))
    move = complex_step[..., -1]
    move = move * np.minimum(1.0, LARGEST_MOVE / np.maximum(np.abs(move), np.finfo(float).tiny))
    new = logarithm + move
    least = np.maximum(-LEAST_DECAY * logarithm.real, np.minimum(slowest, -logarithm.real))
    new = np.minimum(new.real, -least) + 1j * new.imag
    if directions is None:
        return system.replace(poles=np.exp(new))
    added = complex_step[..., :-1] @ directions.T
    size = np.linalg.norm(system.B, axis=-1, keepdims=True)
    length = np.linalg.norm(added, axis=-1, keepdims=True)
    added = added * np.minimum(1.0, LARGEST_MOVE * size / np.maximum(length, np.finfo(float).tiny))
    return system.replace(poles=np.exp(new), B=system.B + added)
