r"""A matrix polynomial in 1/z: the finite impulse response of a system without feedback, with what it is off by."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.rounding import EXTENDED, UNIT, frobenius, gamma, up
from theory.norms.loss import Loss
from theory.systems.boundary import charts

Array = NDArray[Any]

TURN = 4e-15
"""Absolute: error of a computed cosine or sine of ``2 pi r / M`` with integers r < M: the angle's and its own."""

SAMPLES_A_DEGREE = 8
"""Points of the first grid for every degree: between two of them the gain exceeds both by 2 % at most."""

ANY = 1_000_000_000
"""Arcs: a covering in arcs is not what proves a polynomial."""


@dataclass(frozen=True, kw_only=True)
class Polynomial:
    r""":math:`\sum_k H_kz^{-k}` but for a factor :math:`z^{-j}`, which has modulus one on the circle.

    Attributes
    ----------
    H : ndarray, shape (d + 1, p, m)
        Coefficients; the first and the last are not zero.
    lost : float
        What the response of the true coefficients may differ by, anywhere on the circle.
    real : bool
        Whether half of the circle is enough.
    """

    H: Array
    lost: float
    real: bool
    few: bool = True
    relative_loss: float = 0.0

    @property
    def degree(self) -> int:
        """The degree d."""
        return int(self.H.shape[0]) - 1

    @cached_property
    def size(self) -> float:
        """Upper bound of the sum of the coefficients' Frobenius norms, and with it of the gain."""
        return float(up(frobenius(self.H).sum(), self.H.shape[0] + 8))

    @property
    def work(self) -> int:
        """Numbers that a sample takes."""
        return int(self.H.size + self.degree)

    @property
    def most_arcs(self) -> int:
        """The proof counts by itself."""
        return ANY

    @property
    def idle_arcs(self) -> int:
        """The proof counts by itself."""
        return ANY

    def charts(self) -> list[tuple[str, float, float]]:
        """Return the circle, or half of it."""
        return charts(discrete=True, real=self.real, radius=1.0)

    def resonances(self, chart: str) -> Array:
        """Return points so dense that no peak is missed."""
        return np.linspace(-np.pi, np.pi, SAMPLES_A_DEGREE * self.degree + 1)

    def response(self, chart: str, x: Array) -> tuple[Array, Array, Loss]:
        """Return the response at the angles `x`, (S, p, m), its rounding, (S,), and its loss."""
        turns = np.exp(-1j * np.outer(x, np.arange(self.degree + 1)))
        slip = TURN + 2.0 * UNIT * self.degree * np.abs(x)
        loss = Loss(absolute=np.full(x.size, self.lost))
        return self._sum(turns), up((gamma(self.degree + 1) + slip) * self.size), loss

    def sample(self, r: Array, M: int, table: Array | None = None) -> tuple[Array, float]:
        """Return the response at the angles ``2 pi r / M`` for integers `r`, (S, p, m), and a bound of its rounding."""
        step = np.multiply.outer(r, np.arange(self.degree + 1)) % M
        turns = np.exp(-2j * np.pi * (step / M)) if table is None else table[step]
        return self._sum(turns), float(up((gamma(self.degree + 1) + TURN) * self.size))

    def _sum(self, turns: Array) -> Array:
        count, (p, m) = self.H.shape[0], self.H.shape[1:]
        return np.asarray(turns @ self.H.reshape(count, p * m)).reshape(-1, p, m)

    def attained(self, frequency: float) -> float:
        """Return a gain that is attained at exactly this float64 angle: in extended precision, rounded down."""
        count, p, m = self.H.shape
        angle = np.longdouble(frequency) * np.arange(count)
        turns = np.cos(angle) - 1j * np.sin(angle)
        G = (turns[:, None, None] * self.H).sum(axis=0)
        left, _, right = np.linalg.svd(G.astype(complex))
        u, v = left[:, 0].astype(np.clongdouble), right[0].conj().astype(np.clongdouble)
        value = np.abs(u.conj() @ G @ v) / np.sqrt(np.vdot(u, u).real * np.vdot(v, v).real)
        slip = 2.0 * abs(frequency) * self.degree + 4.0 * (count + p + m + 16)
        gain = float(value) * (1.0 - 4.0 * UNIT) - (up(slip * EXTENDED * self.size) + self.lost)
        return max(gain, 0.0) if np.isfinite(gain) else 0.0

    def arc(self, chart: str, centre: Array, h: Array) -> Any:
        """Not bounded in arcs."""
        raise NotImplementedError

    def accept(self, settled: Array) -> None:
        """Nothing to note."""
