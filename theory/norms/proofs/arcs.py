r"""Branch and bound along the stability boundary: the proof of the upper end of a norm.

On an arc :math:`|t|\le h` (local coordinate of :mod:`theory.norms.responses.modes`) and for a fixed unit vector u, the
function :math:`f(t)=\|G(t)u\|^2` exceeds the larger of two samples by at most :math:`\tfrac{d^2}{8}\sup(-f'')`, d their
distance, and :math:`-f'' \le \sup\|(G^*G)''\|` as well as :math:`-f'' = -2\|G'u\|^2 - 2\Re\,u^*G^*G''u \le 2s\,S_2`
with :math:`s=\sup\|G\|,\, S_2=\sup\|G''\|`. With samples at -h, 0, h:

.. math:: s^2 \le \max\big(\sigma^2(-h),\sigma^2(0),\sigma^2(h)\big)
          + \tfrac{h^2}{8}\min\big(\sup\|(G^*G)''\|,\; 2s\,S_2\big),

which is solved for s. The bounds come from Taylor polynomials at the centre (:mod:`theory.norms.responses.derivatives`)
with remainders that sum the modes' exact derivatives. Arcs whose bound exceeds the target are halved.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.rounding import up
from theory.arithmetic.singular_value import largest_gain
from theory.norms.responses.modes import Arc
from theory.systems.boundary import CIRCLE, half_width

Array = NDArray[Any]


class Boundary(Protocol):
    """A response along the stability boundary that can be sampled and bounded on arcs."""

    @property
    def inflation(self) -> float:
        """Relative bound of what compression changed."""

    def charts(self) -> list[tuple[str, float, float]]:
        """Return the arcs that cover the boundary."""

    def resonances(self, chart: str) -> Array:
        """Return the boundary coordinates next to the poles."""

    def response(self, chart: str, x: Array) -> tuple[Array, Array, Array]:
        """Return samples, their rounding errors, and the model errors."""

    def arc(self, chart: str, centre: Array, h: Array) -> Arc:
        """Return samples and bounds on arcs."""

    def accept(self, settled: Array) -> None:
        """Note which of the arcs bounded last are part of the proof."""


@dataclass(kw_only=True)
class Search:
    """State of one search: the best gain seen (rounded down), where, and the proved bound so far."""

    boundary: Boundary
    rtol: float
    best: float = 0.0
    chart: str = CIRCLE
    where: float = 0.0
    upper: float = 0.0
    arcs: int = 0
    log: dict[str, Any] = field(default_factory=dict)

    def sample(self, chart: str, x: Array, chunk: int) -> tuple[Array, Array]:
        """Return (estimate, upper bound) of the modal gain at the points `x`; remember the best attained."""
        estimates, uppers = np.empty(x.size), np.empty(x.size)
        for start in range(0, x.size, chunk):
            part = slice(start, start + chunk)
            value, error, extra = self.boundary.response(chart, x[part])
            estimates[part], uppers[part] = self._gains(chart, x[part], value, error, extra)
        return estimates, uppers

    def _gains(self, chart: str, x: Array, value: Array, error: Array, extra: Array) -> tuple[Array, Array]:
        estimate, upper = largest_gain(value)
        attained = (estimate - (error + (upper - estimate) + extra)) * (1.0 - self.boundary.inflation)
        attained = np.where(np.isfinite(attained), attained, -np.inf)
        if attained.size and attained.max() > self.best:
            index = int(attained.argmax())
            self.best, self.chart, self.where = float(attained[index]), chart, float(x[index])
        return estimate, up(upper + error)

    def bound(self, chart: str, left: Array, right: Array, ends: Array) -> tuple[Array, Array, Array, Array]:
        """Return bounds on each arc, of the gain at its centre, what halving can remove, and what it cannot."""
        centre, h = 0.5 * (left + right), half_width(chart, left, right)
        arc = self.boundary.arc(chart, centre, h)
        _, middle = self._gains(chart, centre, arc.value, arc.error, arc.extra_centre)
        beta = h * h * arc.second / 8.0
        peak = np.maximum(ends, middle)
        sup = up(beta + np.sqrt(beta * beta + peak * peak))
        sup = np.fmin(sup, up(np.sqrt(peak * peak + h * h * arc.curvature / 8.0)))
        sup = np.fmin(sup, arc.crude)
        result = up((sup + arc.extra) * (1.0 + self.boundary.inflation))
        noise = arc.error + arc.extra_centre
        noise = np.where(np.isfinite(noise), noise, 0.0)
        # a model error that is unbounded at the centre stays so on every part of the arc
        excess = np.where(np.isfinite(arc.extra_centre), sup - peak + arc.extra - arc.extra_centre, 0.0)
        return np.where(np.isnan(result), np.inf, result), middle, excess, noise

    def prove(self, *, chunk: int, budget: int, idle_budget: int | None = None) -> None:
        """Cover the boundary; raise `upper` to the largest bound that had to be accepted.

        `budget` is the number of arcs a chart may cost, `idle_budget` the same when no sample stands out of its error.
        """
        pending = []
        for chart, low, high in self.boundary.charts():
            grid = self.first_grid(chart, low, high)
            _, upper = self.sample(chart, grid, chunk)
            pending.append((chart, grid[:-1], grid[1:], np.maximum(upper[:-1], upper[1:]), upper))
        self.refine(chunk, pending)
        if self.best == 0.0 and idle_budget is not None:
            budget = idle_budget
        for chart, left, right, _, upper in pending:
            self._prove_chart(chart, left, right, upper[:-1], upper[1:], chunk, budget)
        self.upper = max(self.upper, self.best)

    def first_grid(self, chart: str, low: float, high: float, uniform: int = 16) -> Array:
        """Pole angles and a few points between, end points included."""
        resonances = self.boundary.resonances(chart)
        inside = resonances[(resonances > low) & (resonances < high)]
        return np.unique(np.concatenate([np.linspace(low, high, uniform + 1), inside]))

    def refine(self, chunk: int, grids: list[Any], *, peaks: int = 6, rounds: int = 40, points: int = 9) -> None:
        """Zoom in on the best few grid neighbourhoods at once, a factor 4 each round."""
        for chart, left, right, _, upper in grids:
            if left.size == 0:
                continue
            order = np.argsort(upper)[::-1][:peaks]
            low = np.append(left, right[-1])[np.maximum(order - 1, 0)]
            high = np.append(left, right[-1])[np.minimum(order + 1, upper.size - 1)]
            for _ in range(rounds):
                x = low[:, None] + (high - low)[:, None] * np.linspace(0.0, 1.0, points)
                before = self.best
                estimate, _ = self.sample(chart, x.ravel(), chunk)
                value = estimate.reshape(x.shape)
                top = value.argmax(axis=1)
                rows = np.arange(len(low))
                low, high = x[rows, np.maximum(top - 1, 0)], x[rows, np.minimum(top + 1, points - 1)]
                flat = value.max(axis=1) - value.min(axis=1) <= 0.01 * self.rtol * value.max(axis=1)
                alive = ~flat & (value.max(axis=1) > 0.5 * self.best)
                low, high = low[alive], high[alive]
                if low.size == 0 or (before == self.best and (high - low).max() < 1e-15):
                    break

    def _prove_chart(
        self, chart: str, left: Array, right: Array, at_left: Array, at_right: Array, chunk: int, budget: int
    ) -> None:
        spent = 0
        while left.size:
            now = slice(0, chunk)
            l, r, fl, fr = left[now], right[now], at_left[now], at_right[now]
            left, right, at_left, at_right = left[chunk:], right[chunk:], at_left[chunk:], at_right[chunk:]
            bound, middle, excess, noise = self.bound(chart, l, r, np.maximum(fl, fr))
            spent += l.size
            target = self.best * (1.0 + 0.9 * self.rtol)
            mid = 0.5 * (l + r)
            settled = (bound <= target) | (excess <= np.maximum(0.1 * self.rtol * self.best, 0.05 * noise))
            settled |= ~((mid > l) & (mid < r)) | (r - l <= 1e-15 * np.maximum(np.abs(l), np.abs(r)))
            if spent > budget:
                settled[:] = True
            self.boundary.accept(settled)
            if settled.any():
                self.upper = max(self.upper, float(bound[settled].max()))
            go = ~settled
            left = np.concatenate([left, l[go], mid[go]])
            right = np.concatenate([right, mid[go], r[go]])
            at_left = np.concatenate([at_left, fl[go], middle[go]])
            at_right = np.concatenate([at_right, middle[go], fr[go]])
        self.arcs += spent
