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

Poles within a few margins of the real axis and two-sided systems are searched instead
(:mod:`theory.reduction.gain_search`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.reduction.gain_search import searched_gains
from theory.systems.given import SystemLike, as_system
from theory.systems.system import DiagonalStateSpace, require_stable

Array = NDArray[Any]

OSCILLATING = 4.0
"""``(1+r^2)/(1-r^2) sin(phi)`` (continuous ``b/a``) above which the closed form holds to a few ulp: `E` cannot
cancel and the maximum is interior. Below it the pole is as close to the real axis as to the circle."""


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
        return searched_gains(pole, margin, b, c, system)
    closed, well = _closed_form(pole, margin, b, c, system.is_discrete)
    if not well.all():
        closed[~well] = searched_gains(pole[~well], margin[~well], b[~well], c[~well], system)
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
