r"""A system as a sum of modes along the stability boundary: what the proofs of the norms work on.

On a small arc around a boundary point, in the local coordinate :math:`t` of a Moebius map, every mode is *exactly*

.. math:: r(t) = a + \frac{b\,t}{1+j q t}, \qquad r^{(k)}(t) = \frac{k!\, b\,(-jq)^{k-1}}{(1+jqt)^{k+1}}\quad(k \ge 1),

- circle: :math:`z = z_0\frac{1+jt}{1-jt}`, :math:`r = 1/(z-\lambda)`: :math:`a = 1/(z_0-\lambda)`,
  :math:`b = -2jz_0 a^2`, :math:`q = (z_0+\lambda)a`; with ``delay=0``, :math:`r = z/(z-\lambda)`: ``a z_0`` and ``b lambda``;
  the reverse direction is the same at :math:`\bar z_0` with :math:`t \to -t`;
- axis: :math:`s = j(\omega_0+t)`, :math:`r = 1/(s-\lambda)`: :math:`a = 1/(j\omega_0-\lambda)`, :math:`b = -ja^2`, :math:`q = a`;
- axis near infinity: :math:`s = j/(\tau_0+t)`: :math:`g = 1/(1+j\lambda\tau_0)`, :math:`a = -j\tau_0 g`, :math:`b = -jg^2`,
  :math:`q = \lambda g`.

The distance :math:`z_0-\lambda` is computed to a few units in the last place however close the pole is to the circle:
the point of the circle is the pair ``z + z (1-|z|)`` of a float64 number and its exact correction to modulus one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from theory.margin import discrete_margin
from theory.norm_rounding import TINY, frobenius, gamma, row_norms, up

Array = NDArray[Any]

CIRCLE, AXIS, INFINITY = "circle", "axis", "infinity"


class LocalModes(NamedTuple):
    """The coefficients a, b, q of every mode at every centre, each (S, N); `damping` is Re q without cancellation."""

    a: Array
    b: Array
    q: Array
    damping: Array


@dataclass(frozen=True, kw_only=True)
class Perturbation:
    r"""What the modes leave out of a dense system: the true one is ``(C+dC)(zI - Lambda - F)^{-1}(B+dB) + D``.

    Attributes hold upper bounds: ``F`` (N, N) elementwise, ``dB`` and ``dC`` (N,) norms of rows and columns.
    """

    F: Array
    dB: Array
    dC: Array


@dataclass(frozen=True, kw_only=True)
class ModalSum:
    """``D + sum_i c_i r_i b_i`` on the boundary; ``reverse`` modes run in reversed time, ``direct`` ones have delay 0."""

    poles: Array
    margin: Array
    B: Array
    C: Array
    D: Array
    reverse: Array
    direct: Array
    discrete: bool
    real: bool
    perturbation: Perturbation | None = None
    inflation: float = 0.0
    """Relative bound of what compression changed in the norm (see :func:`theory.norm_compress.compress`)."""
    leak: Array | None = None
    """(N,) bounds of ``|d(c_i b_i)|`` by compression."""

    @property
    def weights(self) -> Array:
        """Upper bounds of ``|c_i| |b_i|``, (N,)."""
        result: Array = up(row_norms(self.C, axis=0) * row_norms(self.B, axis=1))
        return result

    def charts(self) -> list[tuple[str, float, float]]:
        """Return the arcs that cover the boundary: (chart, from, to); half of it for a real system."""
        if self.discrete:
            return [(CIRCLE, 0.0 if self.real else -np.pi, np.pi)]
        radius = float(2.0 ** np.ceil(np.log2(2.0 * np.abs(self.poles).max(initial=0.0)))) if np.any(self.poles) else 1.0
        low = 0.0 if self.real else -1.0
        return [(AXIS, low * radius, radius), (INFINITY, low / radius, 1.0 / radius)]

    def resonances(self, chart: str) -> Array:
        """Return the boundary coordinates next to the poles."""
        if chart == CIRCLE:
            angle: Array = np.angle(self.poles)
            return np.where(self.reverse, -angle, angle)
        return self.poles.imag if chart == AXIS else np.zeros(0)

    def local(self, chart: str, centre: Array) -> LocalModes:
        """Return a, b, q of every mode at every centre: relative error of each below 32 units in the last place."""
        x = np.asarray(centre, dtype=float)[:, None]
        pole = self.poles[None, :]
        if chart == CIRCLE:
            z = np.cos(x) + 1j * np.sin(x)
            rest = z * discrete_margin(z)
            if self.reverse.any():
                z, rest = np.where(self.reverse, z.conj(), z), np.where(self.reverse, rest.conj(), rest)
            a = 1.0 / ((z - pole) + rest)
            q = (z + pole) * a
            b = -2j * z * a * a
            damping = (self.margin * (1.0 + np.abs(self.poles))) * (a.real**2 + a.imag**2)
            if self.direct.any():
                a, b = np.where(self.direct, a * z, a), np.where(self.direct, b * pole, b)
            if self.reverse.any():
                sign = np.where(self.reverse, -1.0, 1.0)
                b, q, damping = b * sign, q * sign, damping * sign
            return LocalModes(a, b, q, damping)
        if chart == AXIS:
            a = 1.0 / (-pole.real + 1j * (x - pole.imag))
            return LocalModes(a, -1j * a * a, a, self.margin * (a.real**2 + a.imag**2))
        g = 1.0 / (1.0 + 1j * pole * x)
        return LocalModes(-1j * x * g, -1j * g * g, pole * g, -self.margin * (g.real**2 + g.imag**2))

    def evaluate(self, a: Array) -> tuple[Array, Array]:
        """Return ``D + C diag(a) B`` for every row of `a`, (S, p, m), and a bound (S,) of its rounding error."""
        p, m, n = self.C.shape[0], self.B.shape[1], self.poles.size
        if p * m <= 64:
            residues = (self.C.T[:, :, None] * self.B[:, None, :]).reshape(n, p * m)
            value = (a @ residues).reshape(-1, p, m)
        else:
            value = (self.C[None] * a[:, None, :]) @ self.B
        error = gamma(n + 40) * up(np.abs(a) @ self.weights, n + 8) + gamma(2) * frobenius(self.D)
        return value + self.D, up(error)

    def model_error(self, size: Array) -> Array:
        """Bound what the true system has beyond the modes where ``|r_i| <= size_i``, (S, N) -> (S,)."""
        total = np.zeros(size.shape[0])
        if self.leak is not None:
            total = total + size @ self.leak
        if self.perturbation is not None:
            F, dB, dC = self.perturbation.F, self.perturbation.dB, self.perturbation.dC
            c, b = row_norms(self.C, axis=0), row_norms(self.B, axis=1)
            left, right = (c + dC) * size, (b + dB) * size
            coupling = F.sum(axis=1)
            eta = (size * coupling).max(axis=1, initial=0.0)
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                state = right + size * coupling * (right.max(axis=1, initial=0.0) / np.maximum(1.0 - eta, TINY))[:, None]
                error = size @ (dC * b + c * dB + dC * dB) + np.einsum("sn,sn->s", left @ F, state)
            total = total + np.where(eta < 0.5, error, np.inf)
        return np.asarray(up(total, 2 * self.poles.size + 32))


def smallest_denominator(modes: LocalModes, half: Array) -> Array:
    r"""Lower bounds of :math:`\min_{|t|\le h}|1+jqt|`, (S, N); the floor is :math:`|\Re q|/|q|`, exact at the nearest point."""
    q, damping = modes.q, np.abs(modes.damping)
    size = q.real**2 + q.imag**2
    floor = damping / np.sqrt(np.maximum(size, 1e-300))
    t = np.clip(q.imag / np.maximum(size, 1e-300), -half[:, None], half[:, None])
    distance = np.hypot(1.0 - t * q.imag, t * damping)
    # the clipped minimiser is inexact by rounding: 1 - t Im q has an absolute error of a few units
    distance = distance - 8e-16 * (1.0 + np.abs(t * q.imag))
    return np.asarray(np.maximum(np.maximum(distance, floor * (1.0 - 1e-14)), 1e-300))
