r"""What one mode can do: the exact H-infinity gain of every stored pole, and the closed forms that bound it.

A stored pole of a real system stands for :math:`g(z) = c b^T/(z-\lambda) + \bar c \bar b^T/(z-\bar\lambda)`. With real
orthogonal compression (two QR factorizations) `g` is 2 x 2. Write :math:`\gamma = c^Tc/\|c\|^2`,
:math:`\beta = b^Tb/\|b\|^2`, :math:`\delta=(1-|\gamma|^2)(1-|\beta|^2)`. The squared singular
values `f` of `g` (over :math:`\|c\|^2\|b\|^2`) solve :math:`q(x)f^2-\ell(x)f+\delta=0`, where
:math:`x=\cos\theta`, `q` is a convex quadratic and :math:`\ell` is linear. A level `f` is reached where that quadratic
*in x* is not positive, which is one interval; at the global maximum it is a point, hence the discriminant
vanishes or the point is an end of the axis. The discriminant is again quadratic in `f`, so

.. math:: \|g\|_\infty^2 = \|c\|^2\|b\|^2\,\frac{h}{\sin\varphi\,(1-|\lambda|^2)},\quad h = E+\sqrt{E^2+K},\quad
          E = \tfrac{1+|\lambda|^2}{1-|\lambda|^2}\sin\varphi-\Im w,\quad K = (\cos\varphi+\Re w)^2-\delta,

with :math:`w=\gamma\beta e^{-j\varphi}`, :math:`\varphi=\arg\lambda`: no search, and no second maximum to miss. In
continuous time :math:`\lambda=-a+jb`: :math:`\|g\|_\infty^2=\|c\|^2\|b\|^2 h/(2ab)` with :math:`E=b/a-\Im\gamma\beta`,
:math:`K=(1+\Re\gamma\beta)^2-\delta`.

Poles within a few margins of the real axis and two-sided systems are searched instead (see :func:`modal_gains`): there
the global maximum is argued from the degree of the response, not proved.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.systems.given import SystemLike, as_system
from theory.systems.system import DiagonalStateSpace, require_stable

Array = NDArray[Any]

OSCILLATING = 4.0
"""``(1+r^2)/(1-r^2) sin(phi)`` (continuous ``b/a``) above which the closed form holds to a few ulp: `E` cannot
cancel and the maximum is interior. Below it the pole is as close to the real axis as to the circle."""

GRID = 128
"""Starting samples of a search in the pole's own angle `u`; the gain squared is a ratio of trigonometric polynomials
of degree at most four there, so it has far fewer extrema than samples."""

GOLDEN_STEPS = 40
"""Golden-section steps from one grid cell: the angle to 1e-9 of a cell, the value (flat at a maximum) to rounding."""


def last_gains(system: SystemLike) -> Array:
    r"""Return :math:`\|c_i\|\|b_i\|/(1-|\lambda_i|)`, LAST's closed form, (..., n).

    In continuous time the denominator is :math:`-\Re\lambda_i`.

    It is the gain of one complex pole. It is *not* a bound for a conjugate pair (that needs the factor 2), and
    a reverse direction is ignored: see :func:`modal_gain_bounds`.

    Raises
    ------
    StabilityError
        A pole lies on or outside the stability boundary.
    """
    system = as_system(system, diagonal=True)
    require_stable(system)
    gains: Array = np.linalg.norm(system.C, axis=-2) * np.linalg.norm(system.B, axis=-1) / system.margin
    return gains


def modal_gain_bounds(system: SystemLike) -> Array:
    r"""Return the sound closed form :math:`k\,(\|c_i\|+\|c_{r,i}\|)\|b_i\|/(1-|\lambda_i|)`, (..., n).

    :math:`k=2` for conjugate pairs and 1 for complex systems; :math:`c_r` is the reverse output matrix of a
    bidirectional system. Never below :func:`modal_gains`; in continuous time the denominator
    is :math:`-\Re\lambda_i`.

    Raises
    ------
    StabilityError
        A pole lies on or outside the stability boundary.
    """
    system = as_system(system, diagonal=True)
    bound = last_gains(system)
    if system.C_reverse is not None:
        bound = bound + np.linalg.norm(system.C_reverse, axis=-2) * np.linalg.norm(system.B, axis=-1) / system.margin
    return 2.0 * bound if system.conjugate_pairs else bound


def modal_gains(system: SystemLike) -> Array:
    r"""Return the H-infinity gain of every stored pole alone, with its conjugate if it has one, (..., n).

    The gain is :math:`\max_\theta \sigma_{\max}(g_i(e^{j\theta}))`, for bidirectional systems of the two-sided sum (an
    L-infinity norm). `D` does not enter; `delay` matters only for bidirectional systems. By the triangle inequality a
    modal truncation's error is at most the sum of the removed gains.

    Parameters
    ----------
    system : DiagonalStateSpace
        One system or a batch; discrete or continuous.

    Returns
    -------
    ndarray, (..., n)
        Within 1e-12 of the truth relative to :func:`modal_gain_bounds`, hence relative to the gain itself
        unless a nearly real pair cancels in itself (a real pole with imaginary ``c b`` has gain 0).

    Raises
    ------
    StabilityError
        A pole lies on or outside the stability boundary.

    Notes
    -----
    Complex systems: :math:`\|c\|\|b\|/(1-|\lambda|)`. Oscillating pairs: the closed form of this module. Pairs
    within a few margins of the real axis and bidirectional systems: samples in the Blaschke angle of the pole,
    then golden sections around the best three local maxima, all poles at once. Cost O(n (m + p)).
    The values are estimates to rounding, not proved bounds; the proved ones are :func:`modal_gain_bounds`.
    """
    system = as_system(system, diagonal=True)
    require_stable(system)
    b_norm = np.linalg.norm(system.B, axis=-1)
    c_norm = np.linalg.norm(system.C, axis=-2)
    if system.C_reverse is not None:
        c_norm = np.hypot(c_norm, np.linalg.norm(system.C_reverse, axis=-2))
    elif not system.conjugate_pairs:
        return last_gains(system)
    scale = (c_norm * b_norm).ravel()
    pole, margin = system.poles.ravel(), system.margin.ravel()
    live = scale > 0
    b = _few_coordinates(system.B, b_norm, system.conjugate_pairs)
    c = _few_coordinates(np.swapaxes(system.C, -1, -2), c_norm, system.conjugate_pairs, other=_rows(system.C_reverse))
    pole, margin, b, c = pole[live], margin[live], b[live], c[live]
    gain = np.zeros(scale.shape)
    gain[live] = _normalised_gains(pole, margin, b, c, system)
    gains: Array = np.minimum((scale * gain).reshape(system.poles.shape), modal_gain_bounds(system))
    return gains


def _rows(reverse: Array | None) -> Array | None:
    return None if reverse is None else np.swapaxes(reverse, -1, -2)


def _few_coordinates(vectors: Array, norms: Array, real_basis: bool, other: Array | None = None) -> Array:
    """Rotate each vector (and its partner) to few entries, divided by `norms`: (n, k) or, with a partner, (n, k, 2).

    The rotation is real orthogonal for real systems, so that it commutes with conjugation, else unitary.
    """
    safe = np.where(norms > 0, norms, 1.0)[..., None]
    parts = [vectors / safe] if other is None else [vectors / safe, other / safe]
    flat = [part.reshape(-1, part.shape[-1]) for part in parts]
    columns = [half for part in flat for half in ((part.real, part.imag) if real_basis else (part,))]
    R: Array = np.asarray(np.linalg.qr(np.stack(columns, axis=-1), mode="r"))
    compact: Array = R[..., 0::2] + 1j * R[..., 1::2] if real_basis else R
    return np.asarray(compact[..., 0]) if other is None else compact


def _normalised_gains(pole: Array, margin: Array, b: Array, c: Array, system: DiagonalStateSpace) -> Array:
    """Gains of unit-norm modes, (n,): the closed form where it is well conditioned, a search elsewhere."""
    if system.C_reverse is not None:
        return _searched(pole, margin, b, c, system)
    closed, well = _closed_form(pole, margin, b, c, system.is_discrete)
    if not well.all():
        closed[~well] = _searched(pole[~well], margin[~well], b[~well], c[~well], system)
    return closed


def _closed_form(pole: Array, margin: Array, b: Array, c: Array, discrete: bool) -> tuple[Array, Array]:
    """Gains of unit-norm causal pairs, and where the formula is accurate."""
    product = (c * c).sum(-1) * (b * b).sum(-1)
    product = np.where(pole.imag < 0, product.conj(), product)  # of the upper pole of the pair
    delta = (_area(c) * _area(b)) ** 2
    if discrete:
        radius = np.where(margin < 1.0, 1.0 - margin, 1.0)
        cos, sin = pole.real / radius, np.abs(pole.imag) / radius
        width = margin * (2.0 - margin)
        w = product * (cos - 1j * sin)
        ratio, spread = (1.0 + radius * radius) / width * sin, sin * width
    else:
        w, cos = product, np.ones_like(margin)
        ratio, spread = np.abs(pole.imag) / margin, 2.0 * margin * np.abs(pole.imag)
    E, K = ratio - w.imag, (cos + w.real) ** 2 - delta
    well = ratio >= OSCILLATING
    gain = np.zeros_like(margin)
    gain[well] = np.sqrt((E[well] + np.sqrt(E[well] ** 2 + K[well])) / spread[well])
    return gain, well


def _area(v: Array) -> Array:
    r"""``sqrt(1 - |v^T v|^2)`` of unit vectors of at most two entries, as a product: it must not cancel."""
    return 2.0 * np.abs((v[:, 0] * v[:, 1].conj()).imag) if v.shape[-1] > 1 else np.zeros(len(v))


def _searched(pole: Array, margin: Array, b: Array, c: Array, system: DiagonalStateSpace) -> Array:
    """Gains of unit-norm modes by sampling and golden sections in the pole's own angle ``u``."""
    if system.is_discrete:  # angles are exact near 0, not near pi: turn z into -z where the pole is on the left
        left = pole.real < 0
        pole = np.where(left, -pole, pole)
        if c.ndim == 3 and system.delay != system.delay_reverse:
            c = c * np.where(left[:, None, None], np.array([1.0, -1.0]), 1.0)

    def gain(u: Array, mirrored: bool) -> Array:
        return _gain_at(u, pole[:, None], margin[:, None], b, c, system, mirrored)

    # One chart resolves the peak at the pole's angle; the other half of a real system is its mirror image, a
    # complex bidirectional one has a second peak, of its reverse direction, at the mirrored angle.
    charts = (False, True) if c.ndim == 3 and not system.conjugate_pairs else (False,)
    best = np.zeros(len(pole))
    grid = np.linspace(-np.pi, np.pi, GRID + 1)[1:] * np.ones((len(pole), 1))
    cell = 2.0 * np.pi / GRID
    for mirrored in charts:
        value = gain(grid, mirrored)
        best = np.maximum(best, value.max(axis=1))
        peak = (value >= np.roll(value, 1, axis=1)) & (value >= np.roll(value, -1, axis=1))
        order = np.argsort(np.where(peak, value, -1.0), axis=1)[:, -3:]
        low = np.take_along_axis(grid, order, axis=1) - cell
        best = np.maximum(best, _golden(lambda u, side=mirrored: gain(u, side), low, low + 2.0 * cell).max(axis=1))
    return best


def _golden(function: Any, low: Array, high: Array) -> Array:
    """Largest value seen by golden sections of [low, high], elementwise."""
    ratio = (np.sqrt(5.0) - 1.0) / 2.0
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = function(left), function(right)
    best: Array = np.maximum(at_left, at_right)
    for _ in range(GOLDEN_STEPS):
        down = at_left > at_right
        high, low = np.where(down, right, high), np.where(down, low, left)
        probe = np.where(down, high - ratio * (high - low), low + ratio * (high - low))
        at_probe = function(probe)
        left, right = np.where(down, probe, right), np.where(down, left, probe)
        at_left, at_right = np.where(down, at_probe, at_right), np.where(down, at_left, at_probe)
        best = np.maximum(best, at_probe)
    return best


def _gain_at(
    u: Array, pole: Array, margin: Array, b: Array, c: Array, system: DiagonalStateSpace, mirrored: bool
) -> Array:
    r"""Largest singular value of each mode at the pole angles `u`, (n, k).

    Discrete: :math:`\theta=\pm\varphi+d` with :math:`\tan(d/2)=(1-r)/(1+r)\tan(u/2)`, the phase of the Blaschke factor;
    :math:`z-\lambda = e^{j\varphi}[(1-r-2\sin^2(d/2))+j\sin d]` cancels nowhere.
    Continuous: :math:`\omega=b+a\tan(u/2)`.
    """
    paired = system.conjugate_pairs
    tangent = np.tan(0.5 * u)
    if not system.is_discrete:
        offset = margin * tangent
        near, far = margin + 1j * offset, margin + 1j * (offset + 2.0 * pole.imag)  # s - pole, s - conj(pole)
        forward, forward_conj = 1.0 / near, 1.0 / far
        return _largest(b, [c], [(forward, forward_conj)], paired)
    phi = np.angle(pole)
    d = 2.0 * np.arctan(margin / (2.0 - margin) * tangent)
    theta = (-phi if mirrored else phi) + d
    offset_near = theta - phi if mirrored else d
    offset_far = d if mirrored else d + 2.0 * phi

    def inverse(offset: Array, angle: Array) -> Array:  # 1 / (e^{j(angle + offset)} - r e^{j angle})
        return np.exp(-1j * angle) / (margin - 2.0 * np.sin(0.5 * offset) ** 2 + 1j * np.sin(offset))

    near, far = inverse(offset_near, phi), inverse(offset_far, -phi)  # 1/(z - pole), 1/(z - conj(pole))
    lead = np.exp(1j * theta) if system.delay == 0 else np.ones(1)
    if c.ndim == 2:
        return _largest(b, [c], [(lead * near, lead * far)], paired)
    back = np.exp(-1j * theta) if system.delay_reverse == 0 else np.ones(1)
    reverse = (back * far.conj(), back * near.conj())  # 1/(conj(z) - pole) = conj(1/(z - conj(pole))) on the circle
    return _largest(b, [c[..., 0], c[..., 1]], [(lead * near, lead * far), reverse], paired)


def _largest(b: Array, outputs: list[Array], factors: list[tuple[Array, Array]], paired: bool) -> Array:
    """Largest singular value of ``sum_d (c_d f_d) b^T`` plus, if `paired`, the conjugate half: at most two columns."""
    columns: list[Array] = []
    for k in range(b.shape[-1]):
        column: Array = np.zeros(1)
        for c, (direct, conjugate) in zip(outputs, factors, strict=True):
            coupling = (c * b[:, k : k + 1])[:, :, None]
            column = column + coupling * direct[:, None, :]
            if paired:
                column = column + coupling.conj() * conjugate[:, None, :]
        columns.append(column)
    first = (np.abs(columns[0]) ** 2).sum(axis=1)
    if len(columns) == 1:
        return np.asarray(np.sqrt(first))
    second = (np.abs(columns[1]) ** 2).sum(axis=1)
    cross = np.abs((columns[0].conj() * columns[1]).sum(axis=1))
    return np.asarray(np.sqrt(0.5 * (first + second) + np.hypot(0.5 * (first - second), cross)))
