"""What each state is worth, by the papers' formulas: nothing here calls the code under test."""

from __future__ import annotations

import mpmath
import numpy as np
from contract_cases import DIGITS, measured_error


def exact_margin(system):
    """``1 - |pole|`` (``-Re``) of the poles as they are."""
    with mpmath.workdps(DIGITS):
        if system.is_discrete:
            return np.array([float(1 - abs(mpmath.mpmathify(complex(pole)))) for pole in system.poles])
    return -system.poles.real


def norms(system):
    """``|pole|, 1-|pole|, ||b||`` and the root mean square of the directions' ``||c||``."""
    b, c = np.linalg.norm(system.B, axis=-1), np.linalg.norm(system.C, axis=-2)
    if system.C_reverse is not None:
        c = np.sqrt((c**2 + np.linalg.norm(system.C_reverse, axis=-2) ** 2) / 2)
    return np.abs(system.poles), exact_margin(system), b, c


def last_energy(system):
    _, margin, b, c = norms(system)
    return (c * b / margin) ** 2


def released_energy(system):
    _, margin, b, c = norms(system)
    if system.C_reverse is not None:  # / 2 ** 2 in the code, and no square
        c = np.sqrt((np.linalg.norm(system.C, axis=-2) + np.linalg.norm(system.C_reverse, axis=-2)) / 4)
    return (c * b) ** 2 / (margin**2 + 1e-8)


def impulse_energy(system):
    radius, margin, b, c = norms(system)
    return (c * b) ** 2 / (margin * (1 + radius) if system.is_discrete else 2 * margin)


def magnitude(system):
    radius, _, b, c = norms(system)
    return radius * b * c


def gains(system):
    """Of every state alone, by sweeping: from below."""
    alone = [system.keep([i]) for i in range(system.n)]
    return np.array([measured_error(one, one.replace(B=0 * one.B)) for one in alone])


FORMULAS = {
    "last": last_energy,
    "last_released": released_energy,
    "aire": impulse_energy,
    "lamp": magnitude,
    "magnitude": magnitude,
    "modal": gains,
}
