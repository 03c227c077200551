r"""Conjugate pairs: what is stored, both halves written out, and the real system with state :math:`[\Re x;\Im x]`.

One stored pole :math:`\lambda` with its row b and column c stands for two states, with the output
:math:`cx+\bar c\bar x=2\Re(cx)`. As a real system the pair has

.. math::
    A=\begin{bmatrix}\Re\lambda&-\Im\lambda\\ \Im\lambda&\Re\lambda\end{bmatrix},\qquad
    B=\begin{bmatrix}\Re b\\ \Im b\end{bmatrix},\qquad C=2\begin{bmatrix}\Re c&-\Im c\end{bmatrix},

of all pairs together: first all real parts, then all imaginary ones. Every entry is exact. Everybody who writes this
form takes it from here, so that the factor 2 and the sign have one place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def both_halves(stored: Array, axis: int = -1) -> Array:
    """Return the stored numbers and, behind them along `axis`, their conjugates."""
    return np.concatenate([stored, stored.conj()], axis=axis)


def real_input(B: Array) -> Array:
    """``[Re B; Im B]``, (..., n, m) -> (..., 2n, m)."""
    return np.concatenate([B.real, B.imag], axis=-2)


def real_output(C: Array) -> Array:
    """``2 [Re C, -Im C]``, (..., p, n) -> (..., p, 2n)."""
    return np.asarray(2.0 * np.concatenate([C.real, -C.imag], axis=-1))


def product(C: Array, B: Array, conjugate_pairs: bool) -> Array:
    """``C B``, of conjugate pairs ``2 Re(C B)``: both halves together."""
    stored = C @ B
    return np.asarray(2.0 * stored.real if conjugate_pairs else stored)


def real_embedding(matrix: Array) -> Array:
    """``[[Re X, -Im X], [Im X, Re X]]``: what a complex matrix X does to real and imaginary parts."""
    return np.block([[matrix.real, -matrix.imag], [matrix.imag, matrix.real]])


def real_state_matrix(poles: Array) -> Array:
    """A, (n,) -> (2n, 2n)."""
    return real_embedding(np.diag(poles))


def real_state_times(poles: Array, X: Array) -> Array:
    """``A X`` for X (2n, k) without forming A; with ``poles.conj()`` it is ``A^T X``."""
    a, b, half = poles.real[:, None], poles.imag[:, None], poles.size
    top, low = X[:half], X[half:]
    return np.concatenate([a * top - b * low, b * top + a * low])
