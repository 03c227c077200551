r"""Rigorous local models of many scalar rational functions at once: a short Taylor polynomial and a bound of the rest.

A scalar system is ``G = D + sum_j r_j phi_j + conj(sum_j s_j phi_j)`` with :math:`\phi_j=1/(z-\lambda_j)` on the
circle or :math:`1/(j\omega-\lambda_j)` on the axis; `s` is the reverse direction, since :math:`\bar z=z^{-1}` on the
circle. Around a centre the *half-angle tangent* :math:`t=\tan((\theta-\theta_0)/2)` turns every term into one
geometric series in real `t`:

.. math:: \phi(t)=g+A\sum_{k\ge1}(-j)^k\kappa^{k-1}t^k,\qquad
          \text{circle: } g=\tfrac1{e-\lambda},\ A=2eg^2,\ \kappa=(e+\lambda)g,\quad
          \text{axis: } g=\tfrac1{j\omega-\lambda},\ A=\alpha(1+x^2)g^2,\ \kappa=(\alpha-jx\lambda)g,

with :math:`e=e^{j\theta_0}`; on the axis :math:`\omega=\alpha\tan(\theta/2)` and :math:`x=\omega/\alpha`, so that
infinity is the angle pi. Truncation after K terms costs at most :math:`|A||\kappa|^{K-1}T^K/(1-|\kappa|T)` on
:math:`|t|\le T`. Poles with :math:`|\kappa|T` above `NEAR` are taken out of the polynomial and bounded by the largest
:math:`|\phi|` instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

EPS = float(np.finfo(float).eps)

ORDER = 4
"""Taylor coefficients kept; the remainder is of this order in ``t``."""

NEAR = 0.6
"""Poles with a convergence ratio above this are bounded by their peak, not expanded."""

ANGLE_SLACK = 16 * EPS
"""Absolute: every interval is widened by this, which covers the rounding of centres, ends and of sin and cos."""

UNDERFLOW = 1e-280
"""Absolute, with the largest residue or feedthrough near 1: covers whatever underflows."""

CHUNK_ENTRIES = 1 << 13
"""Intervals times poles that are summed at once: the temporaries stay in the second-level cache."""

POINT_SLACK = 2 * EPS
"""Absolute: the angle of the point where a centre is evaluated differs from the centre by less than this."""


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

        A residue, a resolvent and each further product cost at most 16 roundings (a complex product
        :math:`\sqrt8\,u`, Higham 3.6), adding J terms at most J more in any order; doubled for safety.
        """
        return EPS * float(self.real.shape[-1] * (1 if self.reverse is None else 2) + 16 * ORDER)


@dataclass(frozen=True, kw_only=True)
class Model:
    """Local models on n intervals.

    Attributes
    ----------
    gain : ndarray, (n,)
        Computed ``|G|`` at the centre.
    noise : ndarray, (n,)
        Bound of its rounding error.
    slope, curvature : ndarray, (n,)
        Taylor coefficients of ``|G|^2`` in ``t`` (near poles left out).
    ceiling : ndarray, (n,)
        Proved upper bound of ``|G|`` on the interval.
    near : ndarray of bool, (n,)
        Whether a near pole was bounded by its peak.
    """

    gain: Array
    noise: Array
    slope: Array
    curvature: Array
    ceiling: Array
    near: Array


def circle_point(theta: Array) -> tuple[Array, Array, Array, Array]:
    """Return cos and sin of (nearly) `theta` as head and tail: on the circle to 1e-30, within EPS of the angle."""
    c, s = np.cos(theta), np.sin(theta)
    half_defect = 0.5 * _circle_defect(c, s)
    return c, s, c * half_defect, s * half_defect


def _circle_defect(c: Array, s: Array) -> Array:
    """``1 - c^2 - s^2`` with error-free squares; the larger square is subtracted first, exactly."""
    big, small = np.maximum(abs(c), abs(s)), np.minimum(abs(c), abs(s))
    big_head, big_tail = _square(big)
    small_head, small_tail = _square(small)
    # big^2 >= 1/2 up to rounding, so 1 - big_head is exact, and what remains nearly cancels: exact again
    defect: Array = ((1.0 - big_head) - small_head) - (big_tail + small_tail)
    return defect


def _square(x: Array) -> tuple[Array, Array]:
    split = x * 134217729.0
    high = split - (split - x)
    low = x - high
    head = x * x
    return head, ((high * high - head) + 2.0 * high * low) + low * low


def local_models(scalars: Scalars, channel: Array, theta: Array, half: Array) -> Model:
    """Model the functions `channel` (n,) on the angles ``theta +- half``, half at most pi/2; see :class:`Model`."""
    T = np.tan(0.5 * (half + ANGLE_SLACK)) * (1.0 + 4 * EPS)
    n, J = len(channel), scalars.real.shape[-1]
    coefficient, magnitude = np.empty((ORDER, n), complex), np.empty((ORDER, n))
    value, level, tail, peak = np.empty(n, complex), np.empty(n), np.empty(n), np.zeros(n)
    step = max(1, CHUNK_ENTRIES // max(1, J))
    for start in range(0, n, step):
        part = slice(start, start + step)
        out = (coefficient[:, part], magnitude[:, part], value[part], level[part], tail[part], peak[part])
        _sum_over_poles(scalars, channel[part], theta[part], half[part], T[part], out)
    rounding = scalars.rounding
    constant, uncertainty = scalars.constant[channel], scalars.uncertainty[channel]
    coefficient[0] += constant
    magnitude[0] += uncertainty
    slope, curvature, ceiling = _largest(coefficient, magnitude, tail * (1.0 + rounding), T, rounding)
    return Model(
        gain=np.abs(value + constant),
        noise=rounding * (level + uncertainty),
        slope=slope,
        curvature=curvature,
        ceiling=(ceiling + peak * (1.0 + rounding)) * (1.0 + 4 * EPS) + UNDERFLOW,
        near=peak > 0,
    )


def _sum_over_poles(
    scalars: Scalars, channel: Array, theta: Array, half: Array, T: Array, out: tuple[Array, ...]
) -> None:
    """Fill `out`: coefficients and magnitudes without near poles, value and level with them, tail, peak of the near."""
    coefficient, magnitude, value, level, tail, peak = out
    real, imag = scalars.real[channel], scalars.imag[channel]
    g, square, factor, kappa, growth = _expansion(scalars.scale, channel, theta, real, imag)
    size = scalars.size[channel]
    sides = [scalars.forward[channel] * g]
    if scalars.reverse is not None:
        sides.append(scalars.reverse[channel] * g)

    def total(turn: Array | complex) -> Array:
        """Sum over the poles; the reverse direction is conjugated as a whole."""
        summed: Array = sides[0].sum(axis=1) * turn
        if len(sides) > 1:
            summed += (sides[1].sum(axis=1) * turn).conj()
        return summed

    weight = np.sqrt(square)
    weight *= size
    level[:] = weight.sum(axis=1)
    value[:] = total(1.0)
    ratio = growth * T[:, None]
    row, column = np.nonzero(ratio > NEAR)
    if len(row):
        reach = _reach(scalars, channel[row], theta[row], half[row], column)
        peak += np.bincount(row, weights=size[row, column] * reach, minlength=len(peak))
        for array in (size, weight, ratio, *sides):
            array[row, column] = 0.0
    coefficient[0], magnitude[0] = total(1.0), weight.sum(axis=1)
    for side in sides:
        side *= g
    np.multiply(size, square, out=weight)
    scale = np.abs(factor) * (1.0 + 4 * EPS)
    turn = factor * -1j
    for k in range(1, ORDER):
        coefficient[k], magnitude[k] = total(turn), weight.sum(axis=1) * scale
        weight *= growth
        if k + 1 < ORDER:
            for side in sides:
                side *= kappa
            turn = turn * -1j
    np.subtract(1.0, ratio, out=ratio)
    weight /= ratio
    tail[:] = weight.sum(axis=1) * scale


def _expansion(
    scale: Array | None, channel: Array, theta: Array, real: Array, imag: Array
) -> tuple[Array, Array, Array, Array, Array]:
    """Return ``g``, ``|g|^2``, ``A / g^2`` (n,), ``kappa`` and ``|kappa|``."""
    g, kappa = np.empty(real.shape, complex), np.empty(real.shape, complex)
    if scale is None:
        c, s, c_low, s_low = (part[:, None] for part in circle_point(theta))
        up, across = (c - real) + c_low, (s - imag) + s_low
        np.add(c, real, out=real)
        np.add(s, imag, out=imag)
        factor = 2.0 * (c + 1j * s)[:, 0]
    else:
        alpha = scale[channel][:, None]
        omega = axis_frequency(alpha, theta[:, None])
        x = omega / alpha
        up, across = -real, omega - imag
        real, imag = alpha + x * imag, -x * real
        factor = (alpha * (1.0 + x * x)).astype(complex)[:, 0]
    square = 1.0 / (up * up + across * across)
    np.multiply(up, square, out=g.real)
    np.multiply(across, -square, out=g.imag)
    kappa.real, kappa.imag = real, imag
    kappa *= g
    real *= real
    imag *= imag
    real += imag
    real *= square
    return g, square, factor, kappa, np.sqrt(real, out=real)


def _reach(scalars: Scalars, channel: Array, theta: Array, half: Array, column: Array) -> Array:
    """Largest ``|phi|`` of pole `column` of each channel on ``theta +- half``, rounded up."""
    real, imag, margin = (array[channel, column] for array in (scalars.real, scalars.imag, scalars.margin))
    half = half + ANGLE_SLACK
    if scalars.scale is None:
        c, s, _, _ = circle_point(theta)
        away = np.hypot(c - real, s - imag) * (1.0 - 8 * EPS) - half
    else:
        alpha = scalars.scale[channel]
        lowest = axis_frequency(alpha, np.maximum(theta - half, -np.pi))
        highest = axis_frequency(alpha, np.minimum(theta + half, np.pi))
        away = np.abs(imag - np.clip(imag, lowest, highest)) * (1.0 - 8 * EPS)
    reach: Array = (1.0 + 16 * EPS) / np.maximum(margin * (1.0 - 8 * EPS), away)
    return reach


def attained_gain(scalars: Scalars, channel: Array, theta: Array) -> Array:
    r"""Proved lower bound of ``|G|`` of the functions `channel` at the angles `theta`, both (n,).

    The computed value belongs to a point within `POINT_SLACK` of `theta`: its rounding error, the slope of
    ``|G|`` over that distance and a bound of the second order are taken off.
    """
    real, imag = scalars.real[channel], scalars.imag[channel]
    g, square, factor, _, growth = _expansion(scalars.scale, channel, theta, real, imag)
    value = (scalars.forward[channel] * g).sum(axis=1)
    drift = -1j * factor * (scalars.forward[channel] * g * g).sum(axis=1)
    if scalars.reverse is not None:
        value += (scalars.reverse[channel] * g).sum(axis=1).conj()
        drift += (-1j * factor * (scalars.reverse[channel] * g * g).sum(axis=1)).conj()
    value += scalars.constant[channel]
    size = scalars.size[channel]
    noise = scalars.rounding * (scalars.uncertainty[channel] + (size * np.sqrt(square)).sum(axis=1))
    step = 0.5 * POINT_SLACK
    beyond = np.where(growth * step < 0.5, 2.0 * size * square * growth, np.inf).sum(axis=1) * np.abs(factor)
    length = np.abs(value)
    with np.errstate(divide="ignore", invalid="ignore"):  # |G(t)| >= Re(conj(G0) G(t)) / |G0|
        slope = np.where(length > 0, np.abs((value.conj() * drift).real) / length, 0.0) * (1.0 + 1e-6)
    return np.asarray(length * (1.0 - 8 * EPS) - noise - step * (slope + 2.0 * step * beyond) - UNDERFLOW)


def axis_frequency(alpha: Array, theta: Array) -> Array:
    """``alpha tan(theta/2)``, the frequency (rad/s) of an angle in continuous time."""
    omega: Array = alpha * np.tan(0.5 * theta)
    return omega


def _largest(
    coefficient: Array, magnitude: Array, tail: Array, T: Array, rounding: float
) -> tuple[Array, Array, Array]:
    r"""Bound ``|p(t) + rest|`` on ``|t| <= T``: slope and curvature of ``|p|^2`` at 0, and the bound.

    With :math:`|p+\rho|^2 = f_0+f_1t+f_2t^2+\varepsilon(t)`, :math:`|\varepsilon|\le E|t|^3`, the square is at most
    :math:`f_0+|f_1||t|+(f_2+ET)t^2`, whose maximum is known: at a concave peak it exceeds :math:`f_0` by
    :math:`f_1^2/4|f_2+ET|` only, which vanishes as the centre converges.
    """
    powers = T[None, :] ** np.arange(2 * ORDER - 1)[:, None]
    size = np.abs(coefficient)
    product = np.zeros((2 * ORDER - 1, len(T)))
    gross = np.zeros((2 * ORDER - 1, len(T)))
    for i in range(ORDER):
        for j in range(ORDER):
            product[i + j] += (coefficient[i].conj() * coefficient[j]).real
            gross[i + j] += size[i] * size[j]
    envelope = (size * powers[:ORDER]).sum(axis=0)
    E = (np.abs(product[3:]) * powers[: 2 * ORDER - 4]).sum(axis=0)
    E = E + 2.0 * envelope * tail * powers[ORDER - 3] + tail * tail * T ** (2 * ORDER - 3)
    bend = product[2] + E * T + 32 * EPS * (gross[2] + E * T)
    rise = np.abs(product[1]) + 32 * EPS * gross[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        vertex = np.where(bend < 0, -rise / (2.0 * bend), np.inf)
    t = np.minimum(vertex, T)
    square = product[0] + t * (rise + bend * t)
    perturbation = rounding * (magnitude * powers[:ORDER]).sum(axis=0)
    ceiling = np.sqrt(np.maximum(square, 0.0) * (1.0 + 32 * EPS)) + perturbation * (1.0 + 32 * EPS)
    return product[1], product[2], ceiling
