"""A batch of scalar diagonal systems as sums over poles, scaled so that nothing over- or underflows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.system import DiagonalStateSpace

Array = NDArray[Any]

EPS = float(np.finfo(float).eps)


@dataclass(frozen=True, kw_only=True)
class Scalars:
    """Many scalar rational functions with the same number of poles.

    Attributes
    ----------
    real, imag : ndarray, (N, J)
        The poles.
    margin : ndarray, (N, J)
        Distance of the poles from the stability boundary.
    forward : ndarray of complex, (N, J)
        Residues ``r``.
    reverse : ndarray of complex, (N, J), or None
        Conjugated residues ``s`` of the reverse direction.
    constant : ndarray of complex, (N,)
        What is added to the sum over the poles.
    uncertainty : ndarray, (N,)
        Sum of the magnitudes that were added up in `constant`.
    scale : ndarray, (N,), or None
        Frequency ``alpha`` (rad/s) at the angle pi/2; ``None`` in discrete time.
    """

    real: Array
    imag: Array
    margin: Array
    forward: Array
    reverse: Array | None
    constant: Array
    uncertainty: Array
    scale: Array | None

    @cached_property
    def size(self) -> Array:
        """``|r| + |s|``, (N, J), rounded up."""
        size = np.abs(self.forward) if self.reverse is None else np.abs(self.forward) + np.abs(self.reverse)
        return np.asarray(size * (1.0 + 8 * EPS))

    @property
    def rounding(self) -> float:
        r"""Error of a computed Taylor coefficient relative to the sum of the magnitudes of its terms.

        A residue, a resolvent and each further product cost at most 16 roundings (a complex product is within
        :math:`\sqrt8\,u`, Higham 3.6), adding J terms at most J more in any order; doubled for safety.
        """
        return EPS * float(self.real.shape[-1] * (1 if self.reverse is None else 2) + 64)


def axis_frequency(alpha: Array, theta: Array) -> Array:
    """``alpha tan(theta/2)``, the frequency (rad/s) of an angle in continuous time."""
    omega: Array = alpha * np.tan(0.5 * theta)
    return omega


def exponents(system: DiagonalStateSpace) -> Array:
    """Power of two of the largest residue or of `D`, whichever is larger, (N,): squares must not under- or overflow."""
    count, n = system.D.size, system.n

    def power(array: Array) -> Array:  # of the largest entry; that of a zero row does not matter
        size = np.abs(array).reshape(count, -1 if count else n).max(axis=1, initial=0.0)
        return np.where(size > 0, np.frexp(size)[1], -10000)

    outputs = power(system.C) if system.C_reverse is None else np.maximum(power(system.C), power(system.C_reverse))
    return np.asarray(np.maximum(np.maximum(power(system.B) + outputs, power(system.D)), -2000))


def is_silent(system: DiagonalStateSpace) -> Array:
    """Whether a channel is zero because every product of its entries is, (N,)."""
    outputs = system.C if system.C_reverse is None else np.abs(system.C) + np.abs(system.C_reverse)
    alive = ((system.B[..., 0] != 0) & (outputs[..., 0, :] != 0)).any(axis=-1)
    return np.asarray(~(alive | (system.D[..., 0, 0] != 0)).ravel())


def unscaled(lower: Array, upper: Array, exponent: Array) -> tuple[Array, Array]:
    """Multiply by ``2**exponent``, outwards where that is not exact."""
    low, high = np.ldexp(lower, exponent), np.ldexp(upper, exponent)
    low = np.where(np.ldexp(low, -exponent) == lower, low, np.nextafter(low, 0.0))
    return low, np.where(np.ldexp(high, -exponent) == upper, high, np.nextafter(high, np.inf))


def _scaled(values: Array, exponent: Array) -> Array:
    """``values * 2**exponent`` row by row."""
    power = exponent if values.ndim == 1 else exponent[:, None]
    real: Array = np.ldexp(values.real, power)
    return real + 1j * np.ldexp(values.imag, power) if values.dtype.kind == "c" else real


def scalars_of(system: DiagonalStateSpace, exponent: Array) -> Scalars:
    """Write the batch as sums over poles; ``delay=0`` becomes ``z/(z-l) = 1 + l/(z-l)`` where the one matters."""
    n, count = system.n, system.D.size
    pole = system.poles.reshape(count, n)
    margin = system.margin.reshape(count, n)
    b = _scaled(system.B.reshape(count, n), -(exponent // 2))
    constant = _scaled(system.D.reshape(count), -exponent).astype(complex)
    uncertainty = np.abs(constant)
    paired = system.conjugate_pairs
    lone = system.C_reverse is None and not constant.any()  # then |z| = 1 drops out

    def residues(C: Array, delay: int) -> Array:
        nonlocal constant, uncertainty
        residue = _scaled(C.reshape(count, n), exponent // 2 - exponent) * b
        if delay == 1 or lone:
            return residue
        total = residue.sum(axis=1)
        constant = constant + (2.0 * total.real if paired else total)
        uncertainty = uncertainty + (2.0 if paired else 1.0) * np.abs(residue).sum(axis=1)
        return residue * pole

    forward = residues(system.C, system.delay)
    reverse = None if system.C_reverse is None else residues(system.C_reverse, system.delay_reverse).conj()
    if paired:
        pole, margin = np.hstack([pole, pole.conj()]), np.hstack([margin, margin])
        forward = np.hstack([forward, forward.conj()])
        # s/(conj z - l) + conj(s)/(conj z - conj l) = conj(conj(s)/(z - conj l) + s/(z - l))
        reverse = None if reverse is None else np.hstack([reverse.conj(), reverse])
    elif reverse is not None:
        pole, margin = np.hstack([pole, pole.conj()]), np.hstack([margin, margin])
        zero = np.zeros_like(forward)
        forward, reverse = np.hstack([forward, zero]), np.hstack([zero, reverse])
    scale = None
    if not system.is_discrete:
        size = np.abs(pole)
        scale = np.exp(np.log(size).mean(axis=1)) if n else np.ones(count)
    return Scalars(
        real=pole.real.copy(),
        imag=pole.imag.copy(),
        margin=margin,
        forward=forward,
        reverse=reverse,
        constant=constant,
        uncertainty=uncertainty,
        scale=scale,
    )
