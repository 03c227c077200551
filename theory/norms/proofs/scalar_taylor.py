r"""Rigorous local models of many scalar rational functions at once: a short Taylor polynomial and a bound of the rest.

A scalar system is ``G = D + sum_j r_j phi_j + conj(sum_j s_j phi_j)`` with :math:`\phi_j=1/(z-\lambda_j)` on the
circle or :math:`1/(j\omega-\lambda_j)` on the axis; `s` is the reverse direction, since :math:`\bar z=z^{-1}` on the
circle. Around a centre the *half-angle tangent* :math:`t=\tan((\theta-\theta_0)/2)` turns every term into one
geometric series in real `t`:

.. math:: \phi(t)=g+A\sum_{k\ge1}(-j)^k\kappa^{k-1}t^k,\qquad
          \text{circle: } g=\tfrac1{e-\lambda},\ A=2eg^2,\ \kappa=(e+\lambda)g,\quad
          \text{axis: } g=\tfrac1{j\omega-\lambda},\ A=\alpha(1+x^2)g^2,\ \kappa=(\alpha-jx\lambda)g,

with :math:`e=e^{j\theta_0}`; on the axis :math:`\omega=\alpha\tan(\theta/2)` and :math:`x=\omega/\alpha`, so that
infinity is the angle pi. Both have :math:`\kappa=Fg+\nu`, :math:`A=Fg^2` with numbers F and :math:`\nu` of the centre.
Truncation after K coefficients costs at most :math:`|A||\kappa|^{K-1}T^K/(1-|\kappa|T)` on :math:`|t|\le T`. Poles with
:math:`|\kappa|T` above `NEAR` are taken out of the polynomial and bounded by the largest :math:`|\phi|` instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.exact import two_square
from theory.arithmetic.rounding import EPS
from theory.norms.responses.scalars import Scalars, moved

Array = NDArray[Any]

NEAR = 0.75
"""Poles with a convergence ratio above this are bounded by their peak, not expanded."""

POINT_SLACK = 2 * EPS
"""Absolute, on the circle: the angle of the evaluated point differs from the given centre by less than this."""

SLOPE_SLACK = 1e-6
"""Relative: more than the rounding of a slope that does not cancel; it is multiplied by `POINT_SLACK`."""

UNDERFLOW = 1e-280
"""Absolute, with the largest residue or feedthrough near 1: covers whatever underflows."""

CHUNK_ENTRIES = 1 << 14
"""Intervals times poles that are summed at once: the work space stays in the second-level cache."""


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


@dataclass(frozen=True, kw_only=True)
class _Centres:
    """Points of the circle (with the tails of cos and sin) or of the axis, and their numbers F and nu; all (n,)."""

    x: Array
    y: Array
    x_low: Array | None
    y_low: Array | None
    factor: Array
    shift: Array


def _centres(scalars: Scalars, channel: Array, centre: Array) -> _Centres:
    if scalars.scale is None:
        c, s, c_low, s_low = circle_point(centre)
        return _Centres(x=c, y=s, x_low=c_low, y_low=s_low, factor=2.0 * (c + 1j * s), shift=-np.ones(len(centre)))
    alpha = scalars.scale[channel]
    x = centre / alpha
    factor = alpha * (1.0 + x * x)
    return _Centres(x=np.zeros_like(centre), y=centre, x_low=None, y_low=None, factor=factor, shift=1j * x)


def circle_point(theta: Array) -> tuple[Array, Array, Array, Array]:
    """Return cos and sin of (nearly) `theta` as head and tail: on the circle to 1e-30, within EPS of the angle."""
    c, s = np.cos(theta), np.sin(theta)
    half_defect = 0.5 * _circle_defect(c, s)
    return c, s, c * half_defect, s * half_defect


def _circle_defect(c: Array, s: Array) -> Array:
    """``1 - c^2 - s^2`` with error-free squares; the larger square is subtracted first, exactly."""
    big, small = np.maximum(abs(c), abs(s)), np.minimum(abs(c), abs(s))
    big_head, big_tail = two_square(big)
    small_head, small_tail = two_square(small)
    # big^2 >= 1/2 up to rounding, so 1 - big_head is exact, and what remains nearly cancels: exact again
    defect: Array = ((1.0 - big_head) - small_head) - (big_tail + small_tail)
    return defect


def local_models(scalars: Scalars, channel: Array, centre: Array, T: Array, order: int = 3) -> Model:
    """Model the functions `channel` (n,) for ``|t| <= T < 1`` around `centre` (angle, or rad/s); see :class:`Model`.

    `order` is the number K of Taylor coefficients, at least 3.
    """
    centres = _centres(scalars, channel, centre)
    sums = _Sums.of(scalars, channel, T, centres, order)
    coefficient, magnitude = sums.coefficients(scalars, channel, centres)
    gain = np.abs(coefficient[0] + sums.near)
    slope, curvature, ceiling = _largest(coefficient, magnitude, T, scalars.rounding(order))
    return Model(
        gain=gain,
        noise=scalars.rounding(1)[0] * magnitude[0],
        slope=slope,
        curvature=curvature,
        ceiling=(ceiling + sums.peak * (1.0 + scalars.rounding(1)[0])) * (1.0 + 4 * EPS) + UNDERFLOW,
        near=sums.peak > 0,
    )


@dataclass(frozen=True, kw_only=True)
class _Sums:
    """Sums over the poles of n intervals.

    ``powers[d][k] = sum r g^(k+1)`` per direction d; ``magnitude`` their counterparts with absolute values and, last,
    the tail; `near` the part of ``G`` that near poles have at the centre, `peak` the bound of that part.
    """

    powers: list[Array]
    magnitude: Array
    near: Array
    peak: Array

    @classmethod
    def of(cls, scalars: Scalars, channel: Array, T: Array, centres: _Centres, order: int) -> _Sums:
        """Sum in pieces that fit the cache."""
        n, J = len(channel), scalars.real.shape[-1]
        residues = [scalars.forward] if scalars.reverse is None else [scalars.forward, scalars.reverse]
        sums = cls(
            powers=[np.empty((order, n), complex) for _ in residues],
            magnitude=np.empty((order + 1, n)),
            near=np.zeros(n, complex),
            peak=np.zeros(n),
        )
        rows = min(n, max(1, CHUNK_ENTRIES // max(1, J)))
        work = [np.empty((rows, J), complex if k < 3 else float) for k in range(8)]
        for start in range(0, n, rows):
            part = slice(start, min(start + rows, n))
            sums._add(scalars, residues, channel[part], T, centres, part, [w[: part.stop - start] for w in work])
        return sums

    def _add(
        self,
        scalars: Scalars,
        residues: list[Array],
        channel: Array,
        T: Array,
        centres: _Centres,
        part: slice,
        work: list[Array],
    ) -> None:
        """Sum one piece: dot products of the residues with the powers of ``conj(g)``, g the resolvent of a pole.

        Every array operation writes into `work`: allocation would cost more than arithmetic.
        """
        g, h, term, u, v, square, modulus, ratio = work
        np.take(scalars.real, channel, axis=0, out=u, mode="clip")
        np.take(scalars.imag, channel, axis=0, out=v, mode="clip")
        growth = None
        if scalars.scale is not None:  # |alpha - j x pole|, for |kappa|
            alpha, x = scalars.scale[channel][:, None], centres.shift[part].imag[:, None]
            growth = np.hypot(alpha + x * v, x * u)
        np.subtract(centres.x[part, None], u, out=u)
        np.subtract(centres.y[part, None], v, out=v)  # u + j v = point - pole
        if centres.x_low is not None and centres.y_low is not None:
            u += centres.x_low[part, None]
            v += centres.y_low[part, None]
        np.multiply(u, u, out=square)
        np.multiply(v, v, out=modulus)
        square += modulus
        np.divide(1.0, square, out=square)
        np.sqrt(square, out=modulus)
        np.multiply(u, square, out=g.real)
        np.multiply(v, square, out=g.imag)  # conj(1 / (point - pole))
        if growth is None:
            np.multiply(modulus, 2.0 * T[part, None], out=ratio)  # |kappa| = |e + pole| |g| <= 2 |g|
        else:
            growth *= modulus
            np.multiply(growth, T[part, None], out=ratio)
        weight = np.take(scalars.size, channel, axis=0, out=u, mode="clip")
        np.vecdot(weight, modulus, out=self.magnitude[0, part])
        row, column = np.divmod(np.flatnonzero(ratio > NEAR), ratio.shape[1])  # np.nonzero of two axes is slow
        if len(row):
            reach = _reach(scalars, channel[row], column, T[part][row], centres, row + part.start)
            self.peak[part] = np.bincount(row, scalars.size[channel[row], column] * reach, len(channel))
            weight[row, column] = 0.0
            ratio[row, column] = 0.0
        for direction, (residue, power) in enumerate(zip(residues, self.powers, strict=True)):
            np.take(residue, channel, axis=0, out=term, mode="clip")
            if len(row):
                close = term[row, column] * g[row, column].conj()
                term[row, column] = 0.0
                imag = np.bincount(row, close.imag, len(channel)) * (-1.0 if direction else 1.0)
                self.near[part] += np.bincount(row, close.real, len(channel)) + 1j * imag
            np.vecdot(g, term, out=power[0, part])
            for k in range(1, len(power)):
                np.multiply(g if k == 1 else h, g, out=h)
                np.vecdot(h, term, out=power[k, part])
        # |g|^2, ..., |g|^K in turn; the tail is |g|^2 |kappa|^(K-1) / (1 - |kappa| T)
        order, length = len(self.magnitude) - 1, square
        for k in range(1, order):
            if k > 1:
                np.multiply(length, modulus, out=length)
            np.vecdot(weight, length, out=self.magnitude[k, part])
        np.subtract(1.0, ratio, out=ratio)
        if growth is None:
            length *= modulus
            length *= 2.0 ** (order - 1)
        else:
            np.power(growth, order - 1, out=growth)
            np.multiply(modulus, modulus, out=length)
            length *= growth
        length /= ratio
        np.vecdot(weight, length, out=self.magnitude[-1, part])

    def coefficients(self, scalars: Scalars, channel: Array, centres: _Centres) -> tuple[Array, Array]:
        """Taylor coefficients without the near poles, and the magnitudes that were added up for them, then the tail."""
        F, nu = centres.factor, centres.shift
        coefficient = np.zeros((len(self.powers[0]), len(channel)), complex)
        for direction, power in enumerate(self.powers):
            one = np.array([power[0], *((-1j) ** k * F * _shifted(power, F, nu, k) for k in range(1, len(power)))])
            coefficient += one.conj() if direction else one
        coefficient[0] += scalars.constant[channel]
        size = np.abs(F) * (1.0 + 4 * EPS)
        level, *rest, tail = self.magnitude
        parts = np.array([level, *rest])
        rest = [size * _shifted(parts, size, np.abs(nu), k) for k in range(1, len(parts))]
        return coefficient, np.array([level + scalars.uncertainty[channel], *rest, size * tail])


def _shifted(power: Array, F: Array, nu: Array, k: int) -> Array:
    """``sum r g^2 (F g + nu)^(k-1)`` from the sums of powers."""
    return np.asarray(sum(comb(k - 1, i) * F**i * nu ** (k - 1 - i) * power[i + 1] for i in range(k)))


def _reach(scalars: Scalars, channel: Array, column: Array, T: Array, centres: _Centres, row: Array) -> Array:
    """Largest ``|phi|`` of pole `column` of each channel on its interval, rounded up."""
    real, imag, margin = (array[channel, column] for array in (scalars.real, scalars.imag, scalars.margin))
    if scalars.scale is None:
        away = np.hypot(centres.x[row] - real, centres.y[row] - imag) * (1.0 - 8 * EPS) - 2.0 * T  # arc <= 2 T
    else:
        alpha = scalars.scale[channel]
        lowest, highest = (moved(scalars.scale, channel, centres.y[row], side * T) for side in (-1.0, 1.0))
        slack = 16 * EPS * (alpha + np.abs(centres.y[row]) + np.abs(imag))
        away = np.abs(imag - np.clip(imag, lowest, highest)) * (1.0 - 8 * EPS) - slack
    reach: Array = (1.0 + 16 * EPS) / np.maximum(margin * (1.0 - 8 * EPS), away)
    return reach


def attained_gains(scalars: Scalars, channel: Array, centre: Array) -> Array:
    r"""Proved lower bound of ``|G|`` of the functions `channel` at `centre` (angle, or rad/s), both (n,).

    On the circle the computed value belongs to a point within `POINT_SLACK` of the centre: besides the rounding error,
    the slope of ``|G|`` over that distance and a bound of the second order are taken off.
    """
    centres = _centres(scalars, channel, centre)
    sums = _Sums.of(scalars, channel, np.zeros(len(centre)), centres, 3)
    coefficient, magnitude = sums.coefficients(scalars, channel, centres)
    rounding = scalars.rounding(3)
    length = np.abs(coefficient[0])
    lost = rounding[0] * magnitude[0] + UNDERFLOW
    if scalars.scale is None:
        step = 0.5 * POINT_SLACK  # of t; terms from the second order on are at most `beyond` while |kappa| step < 1/2
        growth = 2.0 / np.min(scalars.margin[channel], axis=1, initial=2.0)
        beyond = np.where(growth * step < 0.5, 2.0 * magnitude[2] * step * step, np.inf)
        with np.errstate(divide="ignore", invalid="ignore"):  # |G(t)| >= Re(conj(G0) G(t)) / |G0|
            slope = np.where(length > 0, np.abs((coefficient[0].conj() * coefficient[1]).real) / length, 0.0)
        lost = lost + step * (slope * (1.0 + SLOPE_SLACK) + rounding[1] * magnitude[1]) + beyond
    return np.asarray(length * (1.0 - 8 * EPS) - lost)


def _largest(coefficient: Array, magnitude: Array, T: Array, rounding: Array) -> tuple[Array, Array, Array]:
    r"""Bound ``|p(t) + rest|`` on ``|t| <= T``: slope and curvature of ``|p|^2`` at 0, and the bound.

    With :math:`|p+\rho|^2 = f_0+f_1t+f_2t^2+\varepsilon(t)`, :math:`|\varepsilon|\le E|t|^3`, the square is at most
    :math:`f_0+|f_1||t|+(f_2+ET)t^2`, whose maximum is known: at a concave peak it exceeds :math:`f_0` by
    :math:`f_1^2/4|f_2+ET|` only, which vanishes as the centre converges.
    """
    order = len(coefficient)
    size = np.abs(coefficient)
    tail = magnitude[-1] * (1.0 + rounding[-1])
    product = [np.zeros_like(T) for _ in range(2 * order - 1)]
    for i in range(order):
        product[2 * i] = product[2 * i] + size[i] ** 2
        for k in range(i + 1, order):
            product[i + k] = product[i + k] + 2.0 * (coefficient[i].conj() * coefficient[k]).real
    envelope = _horner(list(size), T)
    E = _horner([np.abs(f) for f in product[3:]], T)
    E = E + tail * (2.0 * envelope * T ** (order - 3) + tail * T ** (2 * order - 3))
    bend = product[2] + E * T + 32 * EPS * (size[1] ** 2 + 2.0 * size[0] * size[2] + E * T)
    rise = np.abs(product[1]) + 32 * EPS * size[0] * size[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        vertex = np.where(bend < 0, -rise / (2.0 * bend), np.inf)
    t = np.minimum(vertex, T)
    square = product[0] + t * (rise + bend * t)
    perturbation = _horner(list(magnitude[:-1] * rounding[:, None]), T)
    ceiling = np.sqrt(np.maximum(square, 0.0) + 32 * EPS * envelope**2) + perturbation * (1.0 + 32 * EPS)
    return product[1], product[2], ceiling


def _horner(coefficient: list[Array], t: Array) -> Array:
    total = coefficient[-1]
    for term in coefficient[-2::-1]:
        total = term + t * total
    return total
