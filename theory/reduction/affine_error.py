r"""An error that is affine in real unknowns: its responses made orthonormal, and its Schatten norm with gradients.

.. math:: E(\omega)=E_0(\omega)-Y\Psi(\omega)-\mathrm{diag}(t)\,\Phi(\omega)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.reduction.schatten import FIRST, orthonormal

Array = NDArray[Any]

LEADING = 3, 2
"""Singular values that count at a frequency, and steps of subspace iteration towards them, always from the same
vectors: the stand-in is then a function of X alone, which a line search needs."""

THERE = 1e-10
"""Size of a combination of responses, in sizes of the single ones, up to which it is not reached: only outputs so much
larger could use it, and float64 has few of its digits."""

CLEAR = 1e-4
"""The same relative to the largest of what is left, from which the Gram matrix knows it to half of its digits."""


def whitened(Psi: Array, states: int) -> tuple[Array, Array]:
    """Real combinations (k', k) of responses (w, k, m), and what these respond, (w, k', m), orthonormal.

    A Gram matrix has squares of sizes, and tells the large combinations only. These are taken off the others, and what
    is left is looked at by itself.
    """
    if not Psi.size:
        return np.zeros((0, Psi.shape[1])), Psi[:, :0]
    F = np.ascontiguousarray(Psi).view(float)  # (w, k, 2 m): inner products are real
    rows = np.einsum("wkm,wkm->k", F, F)
    size = np.sqrt(np.repeat(rows.reshape(-1, 2, states).sum(axis=1, keepdims=True), 2, axis=1).ravel())  # both parts
    W = np.diag(np.where(rows > 0, 1.0 / np.where(rows > 0, size, 1.0), 0.0))
    F = W.diagonal()[:, None] * F
    found, known = np.zeros((0, len(W))), np.zeros((len(F), 0, F.shape[2]))
    while len(W):
        for _ in range(2 if len(found) else 0):  # once more for the digits that the first projection lost
            taken = np.tensordot(F, known, axes=((0, 2), (0, 2)))
            W, F = W - taken @ found, F - taken @ known
        values, V = np.linalg.eigh(np.tensordot(F, F, axes=((0, 2), (0, 2))))
        if not values[-1] > THERE**2:
            break
        clear = values > max(CLEAR**2 * values[-1], THERE**2)
        unit, rest = (V[:, clear] / np.sqrt(values[clear])).T, V[:, ~clear].T
        found, known = np.concatenate([found, unit @ W]), np.concatenate([known, unit @ F], axis=1)
        W, F = rest @ W, rest @ F
    return found, known.view(complex)


class StandIn:
    """Logarithm of the Schatten norm of ``E - Y Psi - diag(t) Phi`` and its gradients along real Y and t."""

    def __init__(self, E: Array, Psi: Array, Phi: Array | None, power: float) -> None:
        self.E, self.Psi, self.Phi, self.power = E, Psi, Phi, power
        self.adjoint = np.ascontiguousarray(Psi.conj().swapaxes(1, 2))
        self.all = min(E.shape[1:]) <= 2 * LEADING[0]
        self.basis = np.random.default_rng(0).standard_normal((len(E), E.shape[2], LEADING[0])).astype(complex)
        if not self.all:
            for _ in range(FIRST):
                self.basis = orthonormal(E.conj().swapaxes(1, 2) @ (E @ self.basis))[0]

    def _triples(self, E: Array) -> tuple[Array, Array, Array]:
        if self.all:
            return np.linalg.svd(E, full_matrices=False)
        basis, adjoint = self.basis, E.conj().swapaxes(1, 2)
        for _ in range(LEADING[1]):
            basis = orthonormal(adjoint @ (E @ basis))[0]
        U, sigma, W = orthonormal(E @ basis)
        return U, sigma, (basis @ W).conj().swapaxes(1, 2)

    def __call__(self, Y: Array, t: Array) -> tuple[float, Array, Array]:
        """Value and gradients."""
        E = self.E - Y @ self.Psi
        U, sigma, Vh = self._triples(E if self.Phi is None else E - t[:, None] * self.Phi)
        top = float(sigma.max())
        scaled = (sigma / top) ** (self.power - 1.0)
        total = float((scaled * sigma).sum()) / top
        U = U * (scaled / (total * top))[:, None, :]
        gradient = -np.tensordot(U, Vh @ self.adjoint, axes=((0, 2), (0, 1))).real
        along_t = np.zeros(0)
        if self.Phi is not None:
            along_t = -(U * (self.Phi.conj() @ Vh.swapaxes(1, 2))).sum(axis=(0, 2)).real
        return float(np.log(top) + np.log(total) / self.power), gradient, along_t
