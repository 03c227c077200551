"""A batch of scalar diagonal systems as sums over poles, scaled so that nothing over- or underflows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.rounding import EPS
from theory.systems.pairs import both_halves
from theory.systems.system import DiagonalStateSpace

Array = NDArray[Any]

NARROW = 1e-3
"""Relative: intervals of the axis below this are halved in frequency, which is exact; wider ones in angle."""

ANGLE_SLACK = 16 * EPS
"""Absolute, on the circle: intervals are widened by this, for the rounding of centres, ends and of sin and cos."""


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
    exponent : ndarray of int, (N,)
        The true gains are those of these functions times ``2**exponent``.
    silent : ndarray of bool, (N,)
        Functions that are zero because every product of their entries is.
    paired : bool
        Whether they are real: half of the boundary is enough.
    shape : tuple of int
        The shape of the batch; ``()`` for one system.
    """

    real: Array
    imag: Array
    margin: Array
    forward: Array
    reverse: Array | None
    constant: Array
    uncertainty: Array
    scale: Array | None
    exponent: Array
    silent: Array
    paired: bool
    shape: tuple[int, ...]

    @cached_property
    def size(self) -> Array:
        """``|r| + |s|``, (N, J), rounded up."""
        size = np.abs(self.forward) if self.reverse is None else np.abs(self.forward) + np.abs(self.reverse)
        return np.asarray(size * (1.0 + 8 * EPS))

    def unscaled(self, lower: Array, upper: Array) -> tuple[Any, Any]:
        """Multiply by ``2**exponent``, outwards where that is not exact; in the shape of the batch."""
        low, high = np.ldexp(lower, self.exponent), np.ldexp(upper, self.exponent)
        low = np.where(np.ldexp(low, -self.exponent) == lower, low, np.nextafter(low, 0.0))
        high = np.where(np.ldexp(high, -self.exponent) == upper, high, np.nextafter(high, np.inf))
        high = np.where(self.silent, 0.0, np.where(np.isnan(high), np.inf, high))
        return self.shaped(low), self.shaped(high)

    def shaped(self, values: Array) -> Any:
        """Give one number a system the shape of the batch."""
        return values.reshape(self.shape) if self.shape else float(values[0])

    def rounding(self, order: int) -> Array:
        r"""Errors of the first `order` computed Taylor coefficients relative to the sums of magnitudes of their terms.

        A residue, a resolvent and their product cost at most 14 roundings (a complex product is within
        :math:`\sqrt5\,u`: Brent, Percival, Zimmermann 2007), each further product at most 16. A dot product of J
        complex terms, in any order, adds 2J real products to each part: :math:`\sqrt2\cdot2Ju<3Ju`, in all.
        ``EPS = 2u``, which doubles the other constants for safety.
        """
        terms = self.real.shape[-1] * (1 if self.reverse is None else 2)
        return np.asarray(EPS * (1.5 * terms + 16.0 * np.arange(1, order + 1)))


def moved(scale: Array | None, channel: Array, centre: Array, t: Array) -> Array:
    """Move `centre` (angle, or rad/s) by `t`, the tangent of half an angle; infinity is where an axis ends."""
    if scale is None:
        return np.asarray(centre + 2.0 * np.arctan(t))
    x = centre / scale[channel]
    with np.errstate(divide="ignore"):
        denominator = 1.0 - x * t
        omega = scale[channel] * (x + t) / np.abs(denominator)
    return np.where(denominator > 0, omega, np.copysign(np.inf, t))


def centred(scale: Array | None, channel: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """Return the middle (in angle) of each interval and `T`, rounded up, with ``|t| <= T`` on the interval.

    On the axis the ends are frequencies in rad/s, so that a resonance is resolved relative to its own frequency.
    """
    if scale is None:
        half = 0.5 * (high - low) + ANGLE_SLACK
        return 0.5 * (low + high), np.tan(0.5 * half) * (1.0 + 4 * EPS)
    alpha = scale[channel]
    centre = alpha * np.tan(0.5 * (np.arctan(low / alpha) + np.arctan(high / alpha)))
    with np.errstate(invalid="ignore"):
        narrow = high - low < NARROW * (alpha + np.abs(low))
        centre = np.clip(np.where(narrow, 0.5 * (low + high), centre), low, high)
        x = centre / alpha
        # (y - x) / (1 + x y) for y = end / alpha; both ends have the sign of the centre: nothing cancels
        ends = [np.abs(end - centre) / alpha / (1.0 + x * (end / alpha)) for end in (low, high)]
    ends = [np.where(np.isinf(end), np.abs(1.0 / x), t) for end, t in zip((low, high), ends, strict=True)]
    return centre, np.maximum(*ends) * (1.0 + 16 * EPS)


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


def _scaled(values: Array, exponent: Array) -> Array:
    """``values * 2**exponent`` row by row."""
    power = exponent if values.ndim == 1 else exponent[:, None]
    real: Array = np.ldexp(values.real, power)
    return real + 1j * np.ldexp(values.imag, power) if values.dtype.kind == "c" else real


def scalars_of(system: DiagonalStateSpace) -> Scalars:
    """Write the batch as sums over poles; ``delay=0`` becomes ``z/(z-l) = 1 + l/(z-l)`` where the one matters."""
    n, count, exponent = system.n, system.D.size, exponents(system)
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
        pole, margin, forward = both_halves(pole), both_halves(margin), both_halves(forward)
        # s/(conj z - l) + conj(s)/(conj z - conj l) = conj(conj(s)/(z - conj l) + s/(z - l))
        reverse = None if reverse is None else np.hstack([reverse.conj(), reverse])
    elif reverse is not None:
        pole, margin = both_halves(pole), both_halves(margin)
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
        exponent=exponent,
        silent=is_silent(system),
        paired=paired,
        shape=system.batch_shape,
    )
