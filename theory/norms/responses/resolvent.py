r"""A dense system on the stability boundary without eigenvectors: for defective and nearly defective state matrices.

With a verified inverse :math:`g` at the centre of an arc (:mod:`theory.systems.resolvent`), the response in the local
coordinate t is exactly

.. math:: G(t) = G(0) + \beta\, t\, C g (I+jtQ)^{-1} g B,

:math:`\beta = -2jz_0` on the circle, else :math:`-j`; :math:`\|(I+jtQ)^{-1}\|` is bounded by a Neumann series.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.rounding import OPERATIONS_40000, SECOND_ORDER, frobenius, gamma, up
from theory.norms.loss import Loss
from theory.norms.responses.derivatives import derivative_bounds
from theory.norms.responses.modes import Arc
from theory.systems.boundary import AXIS, CIRCLE, charts, resonances
from theory.systems.resolvent import CONVERGENT, neumann, resolvent_bound, verified_inverse
from theory.systems.stability import INVERSIONS, stable_count

Array = NDArray[Any]


@dataclass(kw_only=True)
class Resolvent:
    """A dense system along the boundary; `poles` only steer the search.

    `real`: half of the boundary is enough; `real_system`: both halves are alike, whatever the coordinates are.

    The true matrices may differ from `A`, `B`, `C` by `A_error`, `B_error`, `C_error` (Frobenius norms).
    """

    A: Array
    B: Array
    C: Array
    D: Array
    poles: Array
    discrete: bool
    real: bool
    real_system: bool = False
    order: int = 8
    A_error: float = 0.0
    B_error: float = 0.0
    C_error: float = 0.0
    relative_loss: float = 0.0
    largest_resolvent: float = 0.0
    """Largest bound of the resolvent's norm on the arcs that the search accepted."""
    _last: Array = field(default_factory=lambda: np.zeros(0))

    @property
    def few(self) -> bool:
        """Inverses cost more than singular values: every sample gets these."""
        return True

    @property
    def work(self) -> int:
        """Numbers that a sample takes."""
        return int(self.A.size)

    @property
    def most_arcs(self) -> int:
        """Arcs that a covering may cost: O(n^3) each."""
        work, least, most = INVERSIONS
        return int(np.clip(work / self.A.shape[0] ** 3, least, most))

    @property
    def idle_arcs(self) -> int:
        """There is nothing better to try."""
        return self.most_arcs

    def charts(self) -> list[tuple[str, float, float]]:
        """Return the arcs that cover the boundary: (chart, from, to)."""
        return charts(discrete=self.discrete, real=self.real, radius=float(np.abs(self.poles).max(initial=0.0)))

    def resonances(self, chart: str) -> Array:
        """Return the boundary coordinates next to the poles."""
        return resonances(chart, self.poles)

    def response(self, chart: str, x: Array) -> tuple[Array, Array, Loss]:
        """Return the response at the points `x`, (S, p, m), its rounding, (S,), and its loss."""
        x = np.asarray(x, dtype=float)
        g, _, relative = verified_inverse(self.A, chart, x)
        value, rounding = self._value(chart, x, g, relative)
        size, left, right = self._sizes(g, relative)
        return value, rounding, self._loss(chart, np.abs(x), size, left, right)

    def _sizes(self, g: Array, relative: Array) -> tuple[Array, Array, Array]:
        """Return bounds of the norms of ``g``, ``C g`` and ``g B`` at the centres."""
        noise, size = relative + gamma(self.A.shape[0] + 8), frobenius(g)
        left = frobenius(self.C @ g) + noise * frobenius(self.C[None]) * size
        right = frobenius(g @ self.B) + noise * frobenius(self.B[None]) * size
        return size * (1.0 + relative), left, right

    def _loss(self, chart: str, reach: Array, size: Array, left: Array, right: Array) -> Loss:
        """Bound what the errors of A, B and C do, from bounds of the resolvent R, ``C R`` and ``R B``.

        ``(C+c)(I-RF)^{-1}R(B+b) - CRB`` is ``(CR F + c)(I-RF)^{-1}R(B+b) + CR b`` with ``|RF| < 1/2``.
        """
        if self.A_error == self.B_error == self.C_error == 0.0:
            return Loss(absolute=np.zeros(size.size))
        factor = 1.0 if chart in (CIRCLE, AXIS) else reach  # (sI - A)^{-1} = -j tau (I + j tau A)^{-1}
        size, left, right = SECOND_ORDER * size * factor, SECOND_ORDER * left * factor, SECOND_ORDER * right * factor
        shift = size * self.A_error
        right = (right + size * self.B_error) / (1.0 - np.minimum(shift, CONVERGENT))
        total = (left * self.A_error + self.C_error) * right + left * self.B_error
        return Loss(absolute=np.where(shift < CONVERGENT, np.where(np.isnan(total), np.inf, total), np.inf))

    def _value(self, chart: str, x: Array, g: Array, relative: Array) -> tuple[Array, Array]:
        # near infinity (sI - A)^{-1} = -j tau (I + j tau A)^{-1}
        factor = np.asarray(-1j * np.asarray(x))[:, None, None] if chart not in (CIRCLE, AXIS) else 1.0
        n = self.A.shape[0]
        state = g @ self.B
        value = (self.C @ state) * factor + self.D
        left = frobenius(self.C @ g) + gamma(n) * frobenius(self.C[None]) * frobenius(g)
        error = frobenius(np.abs(self.C) @ np.abs(state)) * gamma(n)
        whole = relative * frobenius(self.C[None]) * frobenius(g)
        error = error + np.minimum(whole * frobenius(self.B[None]), (left + whole) * self._residual(chart, x, state))
        error = error * np.abs(np.asarray(factor)).reshape(-1) + gamma(2) * frobenius(self.D)
        error = np.where(np.isfinite(relative), up(error, 64), np.inf)
        return np.where(np.isfinite(value), value, 0.0), np.where(np.isnan(error), np.inf, error)

    def _residual(self, chart: str, x: Array, state: Array) -> Array:
        """Frobenius bound of ``B - M(x) state``, rounding included."""
        n, x = self.A.shape[0], np.asarray(x, dtype=float)[:, None, None]
        moved, size = self.A @ state, np.abs(self.A) @ np.abs(state)
        if chart == CIRCLE:
            z = np.cos(x) + 1j * np.sin(x)
            residual, scale = self.B - (z * state - moved), size + np.abs(state)
        elif chart == AXIS:
            residual, scale = self.B - (1j * x * state - moved), size + np.abs(x * state)
        else:
            residual, scale = self.B - (state + 1j * x * moved), size * np.abs(x) + np.abs(state)
        return np.asarray(up(frobenius(residual) + gamma(n + 4) * frobenius(scale + np.abs(self.B)), 64))

    def arc(self, chart: str, centre: Array, h: Array) -> Arc:
        """Return samples and bounds on the arcs ``|t| <= h`` about the centres."""
        inverse = verified_inverse(self.A, chart, centre)
        series = neumann(self.A, chart, inverse, h)
        (g, beta, relative), (Q, size_q, noise, grown) = inverse, series
        value, error = self._value(chart, centre, g, relative)
        scale, size_g = np.abs(beta), frobenius(g)
        left, right = self.C @ g, g @ self.B
        size_c, size_b = frobenius(self.C[None]) * size_g, frobenius(self.B[None]) * size_g
        left_norm, right_norm = frobenius(left) + noise * size_c, frobenius(right) + noise * size_b
        coefficients, noises = [value], [error]
        term, term_norm = right, right_norm
        chain = np.ones(centre.size)  # ||Q||^{k-1}, for the rounding of the products
        for k in range(1, self.order):
            coefficients.append((beta * (-1j) ** (k - 1))[:, None, None] * (left @ term))
            noises.append(up(scale * (k + 4) * noise * size_c * size_b * chain))
            term, chain = Q @ term, chain * size_q * (1 + noise)
            term_norm = frobenius(term) + (k + 3) * noise * size_b * chain
        remainder = scale * left_norm * term_norm * grown ** (self.order + 1)
        crude = frobenius(value) + error + h * scale * left_norm * right_norm * grown
        first, second, curvature = derivative_bounds(coefficients, noises, remainder, h, crude)
        self._last = resolvent_bound(chart, centre, h, inverse, series)
        ok = np.isfinite(relative) & np.isfinite(grown)
        first, second, curvature, crude = (
            np.where(ok, item, np.inf) * (1 + OPERATIONS_40000) for item in (first, second, curvature, crude)
        )
        size, at_left, at_right = self._sizes(g, relative)
        loss_centre = self._loss(chart, np.abs(centre), size, at_left, at_right)
        grown = grown * ((1.0 + h * h) if chart == CIRCLE else 1.0)
        loss = self._loss(chart, np.abs(centre) + h, size * grown, at_left * grown, at_right * grown)
        loss = Loss(absolute=np.where(ok, loss.absolute, np.inf))
        return Arc(value, error, loss_centre, first, second, curvature, crude, loss)

    def accept(self, settled: Array) -> None:
        """Note which of the arcs bounded last are part of the proof."""
        if settled.any():
            self.largest_resolvent = max(self.largest_resolvent, float(self._last[settled].max()))

    def stable_count(self) -> int | None:
        """Return the number of eigenvalues of A inside the stability region, or ``None`` if rounding hides it."""
        return stable_count(self.A, self.A_error, self.largest_resolvent, discrete=self.discrete)
