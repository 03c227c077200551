r"""A smooth stand-in for the largest gain of an error: its Schatten norm over frequencies, with gradients.

.. math:: F_p=\Bigl(\sum_\omega\sum_i\sigma_i(E(\omega))^p\Bigr)^{1/p}

over the leading singular values, which tends to the maximum from above. These come from subspace iterations where there
are many ports.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.reduction.descent import Point
from theory.reduction.frame import Factors, Frame, Sampled

Array = NDArray[Any]

LEADING = 2
"""Singular values that count at a frequency: descended errors of trained layers are flat along the circle, with one
singular value above 0.9 of the peak at most frequencies."""

FIRST = 10
"""Subspace iterations before the first value of a block; every further value adds one."""

ROUGH, EXACT = 5, 100
"""Subspace iterations that say where an error is large, and at how many of these frequencies it is computed in full."""


class Peaks:
    """Logarithm of the Schatten norm of ``F - F_r`` over given frequencies, with its gradient."""

    def __init__(self, frame: Frame, own: Point, omega: Array, power: float = 1.0) -> None:
        self.frame, self.own, self.omega, self.power = frame, own, omega, power
        p, m = own.C.shape[0] // len(frame.ways), own.B.shape[1]
        self.few, self.m = min(p, m) <= LEADING, m
        # products of full matrices with two vectors each run at a fifth of the speed
        factored = not self.few and 5 * p * m > own.poles.size * (p + m)
        self.whole: Factors | Sampled = Factors(frame, own, omega) if factored else Sampled(frame.response(own, omega))
        self.basis: Array | None = None

    def gains(self, point: Point) -> Array:
        """Largest singular values, (w,): where there are many ports exact at the largest, estimates elsewhere."""
        if not isinstance(self.whole, Factors):
            return _largest(self.whole.value - self.frame.response(point, self.omega))
        gains = self._leading(point, Factors(self.frame, point, self.omega), ROUGH)[1].max(axis=0)
        top = np.argsort(gains)[-EXACT:]
        E = self.frame.response(self.own, self.omega[top]) - self.frame.response(point, self.omega[top])
        gains[top] = _largest(E)
        return np.asarray(gains)

    def _leading(self, point: Point, factors: Factors, first: int = FIRST) -> tuple[Array, Array, Array]:
        """Leading singular triples, U (p, q, w), (q, w), V (m, q, w); the right vectors warm from the last call."""
        if self.few:
            assert isinstance(self.whole, Sampled)
            E = self.whole.value - self.frame.response(point, self.omega)
            U, sigma, Vh = np.linalg.svd(E, full_matrices=False)
            return U.transpose(1, 2, 0), sigma.T, Vh.conj().transpose(2, 1, 0)
        rounds = 1
        if self.basis is None:
            rounds = first
            self.basis = np.random.default_rng(0).standard_normal((self.m, LEADING, self.omega.size)) + 0j
        for _ in range(rounds):
            Y = self.whole.times(self.basis) - factors.times(self.basis)
            Z = self.whole.adjoint_times(Y) - factors.adjoint_times(Y)
            self.basis = _orthonormal(Z)[0]
        U, sigma, W = _orthonormal(self.whole.times(self.basis) - factors.times(self.basis))
        return U, sigma, _turned(self.basis, W)

    def __call__(self, point: Point) -> tuple[float, Array, Array, Array]:
        """Value and gradients."""
        factors = Factors(self.frame, point, self.omega)
        U, sigma, V = self._leading(point, factors)
        top = float(sigma.max())
        if not top > 0:
            return -700.0, 0.0 * point.poles, 0.0 * point.B, 0.0 * point.C
        scaled = (sigma / top) ** (self.power - 1.0)
        total = float((scaled * sigma / top).sum())
        poles, B, C = factors.gradients(U * (scaled / (total * top)), V)
        return float(np.log(top) + np.log(total) / self.power), poles, B, C


def orthonormal(Y: Array) -> tuple[Array, Array, Array]:
    """``Y = U diag(sigma) W^*`` of thin matrices, by the eigenvalues of ``Y^* Y``: half the digits for small values."""
    values, W = np.linalg.eigh(Y.conj().swapaxes(1, 2) @ Y)
    sigma = np.sqrt(np.maximum(values, 1e-14 * values[:, -1:] + np.finfo(float).tiny))
    return (Y @ W) / sigma[:, None, :], sigma, W


def _orthonormal(Y: Array) -> tuple[Array, Array, Array]:
    """The same for vectors (k, q, w) with the frequencies last: sigma (q, w), W (w, q, q)."""
    columns = range(Y.shape[1])
    gram = np.empty((Y.shape[2], Y.shape[1], Y.shape[1]), complex)
    for a in columns:
        adjoint = Y[:, a].conj()
        for b in columns[a:]:  # of the upper triangle
            gram[:, a, b] = (adjoint * Y[:, b]).sum(axis=0)
    values, W = np.linalg.eigh(gram, UPLO="U")
    sigma = np.sqrt(np.maximum(values, 1e-14 * values[:, -1:] + np.finfo(float).tiny))
    return _turned(Y, W / sigma[:, None, :]), sigma.T, W


def _turned(Y: Array, W: Array) -> Array:
    """Vectors (k, q, w) times a small matrix at each frequency, (w, q, q)."""
    turned = np.empty_like(Y)
    for b in range(Y.shape[1]):
        np.multiply(Y[:, 0], W[:, 0, b], out=turned[:, b])
        for a in range(1, Y.shape[1]):
            turned[:, b] += Y[:, a] * W[:, a, b]
    return turned


def _largest(E: Array) -> Array:
    """Largest singular values, (w,)."""
    tall = E if E.shape[1] >= E.shape[2] else E.swapaxes(1, 2)
    gram = tall.conj().swapaxes(1, 2) @ tall
    return np.sqrt(np.maximum(np.linalg.eigvalsh(gram)[:, -1], 0.0))
