r"""Factors of Gramians of one channel in closed form: orthonormal functions with the system's own poles.

With one input the Gramian of :math:`\mathrm{diag}(\lambda)` is :math:`P_{ij}=g_i\bar g_jK(\lambda_i,\lambda_j)`, and
the kernel K is a sum over any orthonormal functions whose span holds it (Szegő),

.. math:: K(z,w)=\frac1{1-z\bar w}=\sum_k\varphi_k(z)\overline{\varphi_k(w)},\qquad
          \varphi_k(z)=\frac{\sqrt{1-|\lambda_k|^2}}{1-\bar\lambda_kz}\prod_{s<k}\frac{z-\lambda_s}{1-\bar\lambda_sz}

(Takenaka and Malmquist), so that :math:`L_{ik}=g_i\varphi_k(\lambda_i)` is a triangular factor. Of conjugate pairs both
functions of a pair can be chosen real (Kautz; Wahlberg, IEEE Trans. Automat. Contr. 39, 1994): with
:math:`d(z)=(1-\bar\lambda z)(1-\lambda z)`

.. math:: \sqrt{1-|\lambda|^4}\,\frac{z-\beta}{d(z)},\qquad \sqrt{(1-|\lambda|^4)(1-\beta^2)}\,\frac1{d(z)},\qquad
          \beta=\frac{2\Re\lambda}{1+|\lambda|^2},

times the product of all earlier pairs, and the real and imaginary parts of :math:`g_i\varphi_k(\lambda_i)` are a *real*
factor. In continuous time :math:`K=-1/(z+\bar w)`, :math:`d(z)=(z+\bar\lambda)(z+\lambda)` and the functions are
:math:`2\sqrt{-\Re\lambda}\,z/d(z)` and :math:`2\sqrt{-\Re\lambda}\,|\lambda|/d(z)`.

Every entry is a product of differences of poles, each within a few ulp: clustered and repeated poles keep their digits.
No recursion: a running product along each row, all rows at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.systems.margin import discrete_margin, pole_gap

Array = NDArray[Any]

ENTRIES = 1 << 16
"""Entries that are worked on at once: a few arrays of them fit the second-level cache."""


def channel_factor(poles: Array, g: Array, discrete: bool) -> Array:
    r"""Return L with :math:`LL^*` the solution of the Stein (Lyapunov) equation of ``diag(poles)`` and one column `g`.

    Parameters
    ----------
    poles : ndarray, shape (..., n), complex
        Stable, in any order, repeated or not.
    g : ndarray, shape (..., n)
    discrete : bool

    Returns
    -------
    ndarray, shape (..., n, n), complex
        Lower triangular; each entry within about ``4 n`` roundings.

    Notes
    -----
    Cost O(n^2).
    """
    decay = _root_decay(poles, discrete)
    factor = np.empty((*poles.shape, poles.shape[-1]), dtype=complex)
    for rows in _pieces(poles):
        gap = pole_gap(poles[..., rows, None], poles[..., None, :], discrete)
        apart = poles[..., rows, None] - poles[..., None, :]
        factor[..., rows, :] = _before(g[..., rows], apart / gap) * (decay[..., None, :] / gap)
    return factor


def pair_functions(poles: Array, g: Array, discrete: bool) -> Array:
    r"""Return :math:`F_{ik}=g_i\varphi_k(\lambda_i)` for the real orthonormal functions of conjugate pairs.

    Parameters
    ----------
    poles : ndarray, shape (..., n), complex
        Stored poles, one of each pair; a real pole is its own conjugate.
    g : ndarray, shape (..., n)
    discrete : bool

    Returns
    -------
    ndarray, shape (..., n, 2n), complex
        ``[Re F; Im F]`` is a real factor of the Gramian of the real system with state ``[Re x; Im x]`` and input column
        ``[Re g; Im g]``. First one function of every pair, then the other; either half is lower triangular.

    Notes
    -----
    The numerator :math:`(1+|\lambda|^2)(z-\beta)=(z-\lambda)-\bar\lambda(1-\lambda z)` is free of cancellation where
    :math:`\lambda` nears :math:`\pm1` and all three terms are small. Cost O(n^2).
    """
    n = poles.shape[-1]
    if discrete:
        modulus = np.abs(poles)
        first, spread = _root_decay(poles, True) / np.hypot(1.0, modulus), np.abs(1.0 - poles) * np.abs(1.0 + poles)
    else:
        first, spread = np.sqrt(2.0) * _root_decay(poles, False), np.abs(poles)
    F = np.empty((*poles.shape, 2 * n), dtype=complex)
    for rows in _pieces(poles):
        z, pole = poles[..., rows, None], poles[..., None, :]
        apart, mirrored = z - pole, pole_gap(z, pole.conj(), discrete)
        inverse, other = 1.0 / pole_gap(z, pole, discrete), 1.0 / mirrored  # two: their product might underflow
        inner = (apart * inverse) * ((z - pole.conj()) * other)
        start = _before(g[..., rows], inner) * inverse * first[..., None, :]
        F[..., rows, :n] = start * ((apart - pole.conj() * mirrored if discrete else z) * other)
        F[..., rows, n:] = start * (spread[..., None, :] * other)
    return F


def _root_decay(poles: Array, discrete: bool) -> Array:
    """Root of :math:`1-|\\lambda|^2`, in continuous time of :math:`-2\\Re\\lambda`."""
    margin = discrete_margin(poles) if discrete else -poles.real
    return np.asarray(np.sqrt(margin * (2.0 - margin) if discrete else 2.0 * margin))


def _before(g: Array, inner: Array) -> Array:
    """``g`` times the product of all inner functions before the k-th: zero from the row's own one on."""
    product = np.empty(np.broadcast_shapes(g[..., None].shape, inner.shape), dtype=complex)
    product[..., :1], product[..., 1:] = g[..., None], inner[..., :-1]
    return np.multiply.accumulate(product, axis=-1, out=product)


def _pieces(poles: Array) -> list[slice]:
    """Slices of the rows that are worked on at once."""
    n = poles.shape[-1]
    step = max(1, ENTRIES // max(poles.size, 1))
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]
