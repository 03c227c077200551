r"""A system as a sum of modes along the stability boundary: what the proofs of the norms work on.

On a small arc around a boundary point, in the local coordinate :math:`t` of a Moebius map, every mode is *exactly*

.. math:: r(t) = a + \frac{b\,t}{1+j q t}, \qquad r^{(k)}(t) = \frac{k!\, b\,(-jq)^{k-1}}{(1+jqt)^{k+1}}\quad(k \ge 1),

- circle: :math:`z = z_0\frac{1+jt}{1-jt}`, :math:`r = 1/(z-\lambda)`: :math:`a = 1/(z_0-\lambda)`,
  :math:`b = -2jz_0 a^2`, :math:`q = (z_0+\lambda)a`; with ``delay=0`` it is :math:`r = z/(z-\lambda)`:
  ``a z_0`` and ``b lambda``; the reverse direction is the same at :math:`\bar z_0` with :math:`t \to -t`;
- axis: :math:`s = j(\omega_0+t)`, :math:`r = 1/(s-\lambda)`: :math:`a = 1/(j\omega_0-\lambda)`,
  :math:`b = -ja^2`, :math:`q = a`;
- axis near infinity: :math:`s = j/(\tau_0+t)`: :math:`g = 1/(1+j\lambda\tau_0)`, :math:`a = -j\tau_0 g`,
  :math:`b = -jg^2`, :math:`q = \lambda g`.

The distance :math:`z_0-\lambda` is computed to a few units in the last place however close the pole is to the circle:
the point of the circle is the pair ``z + z (1-|z|)`` of a float64 number and its exact correction to modulus one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.rounding import (
    OPERATIONS_40,
    OPERATIONS_400,
    OPERATIONS_40000,
    SMALLEST,
    TINY,
    frobenius,
    gamma,
    row_norms,
    up,
)
from theory.norms.loss import Loss
from theory.norms.responses.derivatives import derivative_bounds
from theory.systems.boundary import AXIS, CIRCLE, charts, resonances, within
from theory.systems.eigenvectors import spectrum_radii
from theory.systems.margin import discrete_margin
from theory.systems.units import power_of_two

Array = NDArray[Any]


FEW_ENTRIES = 64
"""Inputs times outputs, or states if fewer, up to which a sample gets its singular values; above, levels are proved."""

MINIMIZER = 8e-16
"""Relative: rounding of ``1 - t Im q`` where the least denominator is attained."""

MOST_ARCS = 20_000
"""Arcs that the covering of a chart may cost: some seconds. What is left then keeps the bound that it has."""

IDLE_ARCS = 400
"""The same for a dense system of which no sample stands out of what its modes leave out."""


class Arc(NamedTuple):
    """What is known of one arc each: samples at the centre, and bounds that hold on the whole arc.

    `value` (S, p, m) with its `rounding`; `first`, `second`: bounds of the norms of the first two derivatives in the
    local coordinate; `curvature` of the second derivative of ``G^* G``; `crude` of the gain itself. What the true
    system has beyond this form of it is `loss_centre` at the centre and `loss` on the whole arc.
    """

    value: Array
    rounding: Array
    loss_centre: Loss
    first: Array
    second: Array
    curvature: Array
    crude: Array
    loss: Loss


class LocalModes(NamedTuple):
    """The coefficients a, b, q of every mode at every centre, each (S, N); `damping` is Re q without cancellation."""

    a: Array
    b: Array
    q: Array
    damping: Array


@dataclass(frozen=True, kw_only=True)
class Perturbation:
    r"""What the modes leave out: the dense system is ``(C+c_error)(zI - Lambda - F)^{-1}(B+b_error) + D``.

    Attributes hold upper bounds: ``F`` (N, N) elementwise, ``b_error`` and ``c_error`` (N,) norms of rows and columns.
    """

    F: Array
    b_error: Array
    c_error: Array


@dataclass(frozen=True, kw_only=True)
class ModalSum:
    """``D + sum_i c_i r_i b_i``; ``reverse`` modes run in reversed time, ``direct`` ones have no delay."""

    poles: Array
    margin: Array
    B: Array
    C: Array
    D: Array
    reverse: Array
    direct: Array
    discrete: bool
    real: bool
    low: Array | None = None
    """(N,) what float64 cuts off the poles: the true ones are ``poles + low``."""
    perturbation: Perturbation | None = None
    relative_loss: float = 0.0
    """What compression changed, relative to the gain (:func:`theory.norms.responses.compression.compress`)."""
    order: int = 8
    """Order of the Taylor polynomials on an arc; 2 bounds everything by sums over modes."""
    mode_losses: Array | None = None
    """(N,) bounds of ``|d(c_i b_i)|`` by compression."""
    band: tuple[float, float] | None = None
    """Frequencies from and to, of one sign, that count; all of them without one."""

    @cached_property
    def row_sizes(self) -> Array:
        """Upper bounds of ``|b_i|``, (N,)."""
        return row_norms(self.B, axis=1)

    @cached_property
    def column_sizes(self) -> Array:
        """Upper bounds of ``|c_i|``, (N,)."""
        return row_norms(self.C, axis=0)

    @cached_property
    def weights(self) -> Array:
        """Upper bounds of ``|c_i| |b_i|``, (N,)."""
        return np.asarray(up(self.column_sizes * self.row_sizes))

    @cached_property
    def radii(self) -> Array:
        """Every eigenvalue of the true A lies in a disc about a pole with this radius, (N,)."""
        return np.zeros(self.poles.size) if self.perturbation is None else spectrum_radii(self.perturbation.F)

    @cached_property
    def paired(self) -> bool:
        """Whether the second half of the modes is, bit for bit, the conjugate of the first, and D real."""
        h = self.poles.size // 2
        halves = all(np.array_equal(x[h:], x[:h].conj()) for x in (self.poles, self.B, self.C.T, self.reverse))
        return 2 * h == self.poles.size and halves and not np.any(np.imag(self.D))

    @property
    def few(self) -> bool:
        """Whether every sample may have its singular values."""
        n, (p, m) = self.poles.size, (self.C.shape[0], self.B.shape[1])
        return min(n, m) * min(n, p) <= FEW_ENTRIES or bool(self.D.any() and self.D.size <= FEW_ENTRIES)

    @property
    def work(self) -> int:
        """Numbers that a sample takes."""
        return self.poles.size + self.D.size

    @property
    def most_arcs(self) -> int:
        """Arcs that a covering may cost."""
        return MOST_ARCS

    @property
    def idle_arcs(self) -> int:
        """Of a dense system whose modes are all rounding, the resolvent knows more: arcs until that is tried."""
        return MOST_ARCS if self.perturbation is None else IDLE_ARCS

    @cached_property
    def on_boundary(self) -> Array:
        """Which poles lie on the boundary to the last bit, (N,); those of a dense system are not known so well."""
        return np.asarray((self.margin == 0) & (self.perturbation is None))

    def normalized(self) -> tuple[ModalSum, float]:
        """Return a sum of size one, and the power of two that it was divided by."""
        if self.poles.size == 0:
            scale = float(power_of_two(np.abs(self.D).max(initial=0.0)))
            return replace(self, D=self.D / scale), scale
        balance, scale = scales(self.B, self.C, self.D)
        lost = self.perturbation
        if lost is not None:
            lost = replace(lost, b_error=lost.b_error / balance, c_error=lost.c_error / (scale / balance))
        return (
            replace(self, B=self.B / balance, C=self.C / (scale / balance), D=self.D / scale, perturbation=lost),
            scale,
        )

    def charts(self) -> list[tuple[str, float, float]]:
        """Return the arcs that cover the boundary, or the band: (chart, from, to)."""
        arcs = charts(discrete=self.discrete, real=self.real, radius=float(np.abs(self.poles).max(initial=0.0)))
        return arcs if self.band is None else within(arcs, *self.band)

    def resonances(self, chart: str) -> Array:
        """Return the boundary coordinates next to the poles."""
        near = resonances(chart, self.poles)
        return np.where(self.reverse, -near, near) if chart == CIRCLE else near

    def _on_circle(self, x: Array) -> tuple[Array, Array]:
        """The points of the circle at `x`, conjugate for reverse modes, and ``1 / (z - pole)``: (S, N) each."""
        z = np.cos(x) + 1j * np.sin(x)
        rest = z * discrete_margin(z)
        if self.reverse.any():
            z, rest = np.where(self.reverse, z.conj(), z), np.where(self.reverse, rest.conj(), rest)
        low = 0.0 if self.low is None else self.low
        return z, 1.0 / ((z - self.poles) + (rest - low))

    def amplitudes(self, chart: str, centre: Array) -> Array:
        """The coefficients a of :meth:`local` alone, (S, N), to the bit."""
        if chart != CIRCLE:
            return self.local(chart, centre).a
        z, a = self._on_circle(np.asarray(centre, dtype=float)[:, None])
        return np.where(self.direct, a * z, a) if self.direct.any() else a

    def local(self, chart: str, centre: Array) -> LocalModes:
        """Return a, b, q of every mode at every centre: relative error of each below 32 units in the last place."""
        x = np.asarray(centre, dtype=float)[:, None]
        pole = self.poles[None, :]
        low = np.zeros(1) if self.low is None else self.low[None, :]
        if chart == CIRCLE:
            z, a = self._on_circle(x)
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
            a = 1.0 / ((-pole.real + 1j * (x - pole.imag)) - low)
            return LocalModes(a, -1j * a * a, a, self.margin * (a.real**2 + a.imag**2))
        g = 1.0 / (1.0 + 1j * (pole + low) * x)
        return LocalModes(-1j * x * g, -1j * g * g, pole * g, -self.margin * (g.real**2 + g.imag**2))

    def evaluate(self, a: Array) -> tuple[Array, Array]:
        """Return ``D + C diag(a) B`` for every row of `a`, (S, p, m), and a bound (S,) of its rounding error."""
        p, m, n = self.C.shape[0], self.B.shape[1], self.poles.size
        if p * m <= FEW_ENTRIES:
            residues = (self.C.T[:, :, None] * self.B[:, None, :]).reshape(n, p * m)
            value = (a @ residues).reshape(-1, p, m)
        else:
            value = (self.C[None] * a[:, None, :]) @ self.B
        error = gamma(n + 40) * up(np.abs(a) @ self.weights, n + 8) + gamma(2) * frobenius(self.D)
        return value + self.D, up(error)

    def loss(self, size: Array) -> Loss:
        """Bound what the true system has beyond the modes where ``|r_i| <= size_i``, (S, N) -> (S,)."""
        total = np.zeros(size.shape[0])
        if self.mode_losses is not None:
            total = total + size @ self.mode_losses
        if self.perturbation is not None:
            F, b_error, c_error = self.perturbation.F, self.perturbation.b_error, self.perturbation.c_error
            c, b = self.column_sizes, self.row_sizes
            left, right = (c + c_error) * size, (b + b_error) * size
            coupling = F.sum(axis=1)
            eta = (size * coupling).max(axis=1, initial=0.0)
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                spread = right.max(axis=1, initial=0.0) / np.maximum(1.0 - eta, TINY)
                state = right + size * coupling * spread[:, None]
                error = size @ (c_error * b + c * b_error + c_error * b_error) + np.einsum("sn,sn->s", left @ F, state)
            total = total + np.where(eta < 0.5, error, np.inf)
        return Loss(absolute=np.asarray(up(total, 2 * self.poles.size + 32)), relative=self.relative_loss)

    def response(self, chart: str, x: Array) -> tuple[Array, Array, Loss]:
        """Return the modal response at the points `x`, (S, p, m), its rounding, (S,), and its loss."""
        a = self.local(chart, x).a
        value, rounding = self.evaluate(a)
        return value, rounding, self.loss(np.abs(a) * (1 + OPERATIONS_40))

    def arc(self, chart: str, centre: Array, h: Array) -> Arc:
        """Return samples and bounds on the arcs ``|t| <= h`` about the centres."""
        local = self.local(chart, centre)
        size_b, size_q = np.abs(local.b), np.abs(local.q)
        mu = smallest_denominator(local, h)
        largest = np.abs(local.a) + size_b * h[:, None] / mu
        weights, n = self.weights, self.poles.size
        value, rounding = self.evaluate(local.a)

        def tail(k: int) -> Array:
            return np.asarray((size_b * size_q ** (k - 1) / mu ** (k + 1)) @ weights)

        remainder = tail(2)
        first, second = size_b @ weights + 2.0 * h * remainder, 2.0 * remainder
        crude = (largest @ weights + frobenius(self.D)) * (1 + OPERATIONS_40000)
        curvature = np.full(h.size, np.inf)
        if self.order > 2:
            coefficients, noise = [value], [rounding]
            term, size, through = local.b, size_b, 2.0 * frobenius(self.D)
            for _ in range(1, self.order):
                coefficients.append(self.evaluate(term)[0] - self.D)
                noise.append(up(gamma(n + 60) * (size @ weights + through)))
                term, size = term * (-1j * local.q), size * size_q
            bounds = derivative_bounds(coefficients, noise, tail(self.order) * (1 + OPERATIONS_40000), h, crude)
            first, second, curvature = np.fmin(first, bounds[0]), np.fmin(second, bounds[1]), bounds[2]
        return Arc(
            value=value,
            rounding=rounding,
            loss_centre=self.loss(np.abs(local.a) * (1 + OPERATIONS_40)),
            first=first * (1 + OPERATIONS_40000),
            second=second * (1 + OPERATIONS_40000),
            curvature=curvature,
            crude=crude,
            loss=self.loss(largest * (1 + OPERATIONS_400)),
        )

    def accept(self, settled: Array) -> None:
        """Nothing to note: the modes' denominators are known."""


def smallest_denominator(modes: LocalModes, half: Array) -> Array:
    r"""Lower bounds of :math:`\min_{|t|\le h}|1+jqt|`, (S, N); :math:`|\Re q|/|q|` is the least over all real t."""
    q, damping = modes.q, np.abs(modes.damping)
    size = q.real**2 + q.imag**2
    floor = damping / np.sqrt(np.maximum(size, SMALLEST))
    t = np.clip(q.imag / np.maximum(size, SMALLEST), -half[:, None], half[:, None])
    distance = np.hypot(1.0 - t * q.imag, t * damping)
    # the clipped minimiser is inexact by rounding: 1 - t Im q has an absolute error of a few units
    distance = distance - MINIMIZER * (1.0 + np.abs(t * q.imag))
    return np.asarray(np.maximum(np.maximum(distance, floor * (1.0 - OPERATIONS_40)), SMALLEST))


def scales(B: Array, C: Array, D: Array) -> tuple[float, float]:
    """Powers of two (for B, for the whole) that bring the system to size one."""
    b, c = float(np.abs(B).max(initial=0.0)), float(np.abs(C).max(initial=0.0))
    size = max(float(np.abs(D).max(initial=0.0)), b * c)
    return float(power_of_two(b)), float(power_of_two(size))
