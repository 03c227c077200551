"""Frequencies at which an error is sampled: around its poles as far as they reach, and some between them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.systems.margin import discrete_margin

Array = NDArray[Any]

APART = 0.45
"""Least distance of two frequencies, in distances to the nearest pole: between them the error can do little."""


def candidates(poles: Array, discrete: bool, paired: bool) -> Array:
    """Frequencies around the poles, and some between them."""
    centre = np.angle(poles) if discrete else poles.imag
    margin = np.maximum(discrete_margin(poles) if discrete else -poles.real, 1e-300)
    offsets = np.array([0.0, 0.25, -0.25, 0.5, -0.5, 1.0, -1.0, 2.0, -2.0, 4.0, -4.0])
    omega = (centre[:, None] + margin[:, None] * offsets).ravel()
    if discrete:
        omega = np.concatenate([(omega + np.pi) % (2 * np.pi) - np.pi, np.linspace(-np.pi, np.pi, 65)])
    else:
        omega = np.concatenate([omega, [0.0]])
    return _thinned(np.unique(np.abs(omega)) if paired else np.unique(omega), poles, discrete, paired)


def _thinned(omega: Array, poles: Array, discrete: bool, paired: bool) -> Array:
    """Leave out frequencies whose left neighbour is nearer than :data:`APART`."""
    every = np.concatenate([poles, poles.conj()]) if paired else poles
    zeta = np.exp(1j * omega) if discrete else 1j * omega
    reach = APART * np.abs(zeta[:, None] - every).min(axis=1)
    kept = [0]
    for i in range(1, omega.size):
        if omega[i] - omega[kept[-1]] >= min(reach[i], reach[kept[-1]]):
            kept.append(i)
    return omega[kept]
