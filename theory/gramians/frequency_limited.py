r"""Gramians over a band of frequencies: what can be reached, and seen, by signals of these frequencies alone.

.. math::
    P_\Omega=\frac1{2\pi}\int_\Omega R(\omega)BB^*R(\omega)^*\,d\omega,\qquad
    Q_\Omega=\frac1{2\pi}\int_\Omega R(\omega)^*C^*CR(\omega)\,d\omega,\qquad R(\omega)=(zI-A)^{-1},

with :math:`z=e^{j\omega}`, in continuous time :math:`j\omega`, and :math:`\Omega=[-h,-l]\cup[l,h]`. The Gramians of
disjoint bands add up to those of :math:`(A,B,C)`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from theory.errors import InputError
from theory.gramians.gramians import _gaps as gaps
from theory.gramians.gramians import _real_form as real_form
from theory.gramians.gramians import stacked_output
from theory.gramians.time_limited import _log1p as log1p
from theory.systems.given import SystemLike, as_system
from theory.systems.system import DiagonalStateSpace, require_stable

Array = NDArray[Any]

SMALL = 0.5
"""Modulus of a logarithm below which it is taken as that of 1 + x, x free of cancellation."""


class Piece(NamedTuple):
    """A spectral density that is constant between two frequencies of either sign, and zero elsewhere."""

    low: float
    high: float
    value: float = 1.0


def frequency_limited_gramians(system: SystemLike, band: tuple[float, float]) -> tuple[Array, Array]:
    r"""Return :math:`(P_\Omega,Q_\Omega)` of a diagonal system, in closed form.

    .. math::
        (P_\Omega)_{ij}=(BB^*)_{ij}\,\frac{F(\lambda_i)+\overline{F(\lambda_j)}}{1-\lambda_i\bar\lambda_j},\qquad
        F(\lambda)=\frac1{4\pi}\int_\Omega\frac{e^{j\omega}+\lambda}{e^{j\omega}-\lambda}\,d\omega

    (continuous time: :math:`-\lambda_i-\bar\lambda_j` below, :math:`F(\lambda)=\frac1{2\pi}\int_\Omega
    \frac{d\omega}{j\omega-\lambda}`). :cite:p:`GJ90`

    Parameters
    ----------
    system : DiagonalStateSpace
        Stable; a batch gives a batch. Of both directions of time outputs are stacked.
    band : tuple of two floats
        :math:`0\le l<h`, in rad/sample up to :math:`\pi`, in rad/s up to infinity where time is continuous; the
        negative frequencies belong to it, also for a complex system.

    Returns
    -------
    P, Q : ndarray, shape (..., N, N)
        Coordinates and stacking of two directions as in :func:`theory.gramians.gramians.gramians`; the whole band gives
        the Gramians of that function.

    Raises
    ------
    StabilityError, InputError

    Notes
    -----
    :math:`F(\lambda_i)+\overline{F(\lambda_j)}` of a mode outside of the band is as small as its margin. It is not
    summed: over one arc it is :math:`\frac1{2\pi j}\log\frac{(z_h-\lambda_i)\overline{(z_l-\lambda_j)}}
    {(z_l-\lambda_i)\overline{(z_h-\lambda_j)}}`, without the :math:`-j(h-l)` of discrete time, and its argument differs
    from 1 by a product with the gap :math:`1-\lambda_i\bar\lambda_j`, which is free of cancellation. So entries are
    right to a few eps for poles at 1e-9 from the circle, apart from what the edges of the band, rounded, are off by.
    Cost O(n^2 m), four complex logarithms an entry.
    """
    system = as_system(system, diagonal=True)
    whole = (Piece(*checked_band(band, system.is_discrete)),)
    return piecewise_gramians(system, whole, whole)


def piecewise_gramians(
    system: DiagonalStateSpace, into: tuple[Piece, ...], out: tuple[Piece, ...]
) -> tuple[Array, Array]:
    """Gramians for spectral densities of the input, and of the output, that are sums of pieces; of none they are zero.

    The bands are checked ones, and the values not negative.
    """
    require_stable(system)
    C = np.swapaxes(stacked_output(system), -1, -2).conj()
    P, P_mixed = _weighted(system.poles, system.B, into, system.is_discrete)
    Q, Q_mixed = _weighted(system.poles.conj(), C, out, system.is_discrete)
    if not system.conjugate_pairs:
        return P, Q
    return 0.5 * real_form(P, P_mixed), 2.0 * real_form(Q, Q_mixed)


def checked_band(band: Any, discrete: bool | None = None) -> tuple[float, float]:
    """Two floats :math:`0\\le l<h`, up to pi in discrete time, finite unless time is continuous (None: not known yet).

    Raises
    ------
    InputError
    """
    try:
        low, high = (_number(edge) for edge in band)
    except (TypeError, ValueError):
        raise InputError(f"a band is two frequencies (low, high), got {band!r}") from None
    unit = {True: "rad/sample", False: "rad/s", None: "rad/sample (rad/s in continuous time)"}[discrete]
    if not 0 <= low < high:  # NaN is not
        raise InputError(f"a band is (low, high) with 0 <= low < high, in {unit}, got {band!r}")
    if discrete and high > math.pi:
        raise InputError(
            f"in discrete time frequencies are in rad/sample and end at pi; the band {band!r} ends at {high:g}. "
            "Multiply rad/s by the sample time, Hz by 2 pi times that"
        )
    return low, high


def _number(edge: Any) -> float:
    if isinstance(edge, (bool, np.bool_, str, bytes)):
        raise TypeError
    return float(edge)


def _weighted(poles: Array, G: Array, spectrum: tuple[Piece, ...], discrete: bool) -> tuple[Array, Array]:
    """``E[x x^*]`` and ``E[x x^T]`` of the modes, driven through `G` by noise of this spectrum on both sides of 0."""
    direct, mixed = gaps(poles, discrete)
    mirror = poles.conj()
    own, other = np.zeros_like(direct), np.zeros_like(direct)
    for low, high, value in spectrum:
        arc = low, high, discrete
        # negative frequencies: the conjugate integral at the conjugate poles
        own += value * (_arc(poles, poles, direct, *arc) + _arc(mirror, mirror, direct.conj(), *arc).conj())
        other += value * (_arc(poles, mirror, mixed, *arc) + _arc(mirror, poles, mixed.conj(), *arc).conj())
    across = np.swapaxes(G, -1, -2)
    return (G @ across.conj()) * own, (G @ across) * other


def _arc(left: Array, right: Array, gap: Array, low: float, high: float, discrete: bool) -> Array:
    r""":math:`\frac1{2\pi}\int_l^h\frac{d\omega}{(z-\lambda_i)\overline{(z-\mu_j)}}`, (..., n, n)."""
    (apart, size, turn), (_, other, back) = (_seen(poles, low, high, discrete) for poles in (left, right))
    wide = high - low if discrete else 0.0
    rows, columns = np.s_[..., :, None], np.s_[..., None, :]
    logarithm = size[rows] - other[columns] + 1j * (turn[rows] + back[columns] - wide)
    if discrete:  # 1 - e^(-j (h - l)), over the conjugate of z_h - mu
        half = 0.5 * wide
        factor = 2j * math.sin(half) * np.exp(-1j * half) / (np.exp(1j * high) - right).conj()
    else:
        factor = 1j * (high - low) / (1j * high - right).conj() if math.isfinite(high) else -np.ones_like(right)
    small = np.abs(logarithm) < SMALL
    x = np.where(small, factor[columns] * (gap / apart[rows]), 0.0)
    return np.where(small, log1p(x), logarithm) / (2j * np.pi * gap)


def _seen(poles: Array, low: float, high: float, discrete: bool) -> tuple[Array, Array, Array]:
    r""":math:`z_l-\lambda`, and by how much modulus (in logarithms) and angle of :math:`z-\lambda` grow along the arc.

    From inside the circle every arc is seen under an angle between (h-l)/2 and pi + (h-l)/2, from the left half plane
    between 0 and pi: that settles the branch.
    """
    start = (np.exp(1j * low) if discrete else 1j * low) - poles
    if math.isinf(high):
        return start, -np.log(np.abs(start)), 0.5 * np.pi - np.angle(start)
    end = (np.exp(1j * high) if discrete else 1j * high) - poles
    angle = np.angle(end) - np.angle(start)
    middle = 0.5 * (np.pi + high - low) if discrete else 0.5 * np.pi
    angle += 2.0 * np.pi * np.round((middle - angle) / (2.0 * np.pi))
    return start, np.log(np.abs(end)) - np.log(np.abs(start)), angle
