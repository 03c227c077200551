r"""Stability margins without cancellation, and what rounding errors of a dense matrix are relative to."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from theory.arithmetic.exact import two_square, two_sum
from theory.arithmetic.rounding import EPS


def discrete_margin(poles: ArrayLike) -> NDArray[Any]:
    r"""Return :math:`1-|\lambda| = (1-a^2-b^2)/(1+|\lambda|)` for :math:`\lambda = a+jb`.

    The numerator is evaluated with error-free squares, so the result has a relative error of a few
    units in the last place even where :math:`1-|\lambda|` is 1e-15; the naive form has 1e-16 absolute
    error. The sign is exact: a pole on the circle gives 0.

    Parameters
    ----------
    poles : array_like of complex
        Finite poles, any shape.

    Returns
    -------
    ndarray of float, same shape
    """
    pole = np.asarray(poles, dtype=np.complex128)
    a, b = np.maximum(abs(pole.real), abs(pole.imag)), np.minimum(abs(pole.real), abs(pole.imag))
    modulus = np.abs(pole)
    near = modulus < 2.0  # far outside the disc there is no cancellation, and the squares might overflow
    a, b = np.where(near, a, 0.0), np.where(near, b, 0.0)
    a_head, a_tail = two_square(a)
    b_head, b_tail = two_square(b)
    first, first_lost = two_sum(1.0, -a_head)
    total, total_lost = two_sum(first, -b_head)
    numerator = total + (((first_lost + total_lost) - a_tail) - b_tail)
    return np.where(near, numerator / (1.0 + modulus), 1.0 - modulus)


def disc_gap(left: ArrayLike, right: ArrayLike) -> NDArray[Any]:
    r"""Return :math:`1-\lambda\bar\mu` for poles in the closed unit disc, without cancellation; broadcasts.

    The real part is :math:`\tfrac12\bigl((1-|\lambda|^2)+(1-|\mu|^2)+|\lambda-\mu|^2\bigr)`, a sum of positive
    terms, and the imaginary part :math:`-\Im((\lambda-\mu)\bar\mu)` is small with :math:`|\lambda-\mu|`, which
    never exceeds the result: a few ulp of relative error even for two poles at 1e-15 from the same point of the circle.

    Parameters
    ----------
    left, right : array_like of complex
        The poles :math:`\lambda` and :math:`\mu`, broadcastable shapes.

    Returns
    -------
    ndarray of complex, the broadcast shape
    """
    one, other = np.asarray(left, dtype=np.complex128), np.asarray(right, dtype=np.complex128)
    mine, theirs = discrete_margin(one), discrete_margin(other)
    apart = one - other
    real = 0.5 * (mine * (2.0 - mine) + theirs * (2.0 - theirs) + (apart.real**2 + apart.imag**2))
    return real + 1j * (apart.real * other.imag - apart.imag * other.real)


def pole_gap(left: ArrayLike, right: ArrayLike, discrete: bool) -> NDArray[Any]:
    r"""Return :func:`disc_gap`, in continuous time :math:`-\lambda-\bar\mu`: what products of two modes decay with."""
    return disc_gap(left, right) if discrete else -(np.asarray(left) + np.conj(right))


def state_scaling(A: NDArray[Any], *, gain: float = 8.0) -> NDArray[Any]:
    r"""Return powers of two :math:`d`, (n,), that give :math:`D^{-1}AD`, :math:`D=\mathrm{diag}(d)`, rows like columns.

    States in very different units make a matrix whose norm, and with it every rounding error, is far larger than its
    eigenvalues. The scaling itself is exact. Ones where it would not shrink the norm by the factor `gain`: then the
    matrix is left alone.
    """
    n = A.shape[0]
    if n < 2:
        return np.ones(n)
    scaled, (d, _) = scipy.linalg.matrix_balance(A, permute=False, separate=True)
    worthwhile = np.linalg.norm(scaled) * gain < np.linalg.norm(A) and np.isfinite(d).all()
    return np.asarray(d, dtype=float) if worthwhile else np.ones(n)


def spectral_rounding(A: NDArray[Any]) -> float:
    r"""Return how far off the computed eigenvalues of `A` may be: :math:`\varepsilon\|D^{-1}AD\|_F`; 0 if triangular.

    A pole whose stability margin is not larger cannot be told from one on the boundary.
    """
    if not np.tril(A, -1).any() or not np.triu(A, 1).any():
        return 0.0
    d = state_scaling(A)
    return float(EPS * np.linalg.norm(A * d / d[:, None]))
