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

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.rounding import up
from theory.norms.peaks.grid import Grid
from theory.norms.peaks.peak import Peak
from theory.norms.proofs.proof import ByShape, Proved
from theory.norms.responses.response import Response
from theory.systems.boundary import half_width

Array = NDArray[Any]

HARMLESS = 0.1
"""Share of `rtol` that halving an arc must be able to win, relative to the largest gain, or the arc is kept."""

DROWNED = 0.05
"""Share of the rounding and loss at the centre that halving must be able to win: the rest of the bound is these."""

SHORTEST = 1e-15
"""Length of an arc, relative to its ends, that float64 cannot halve in earnest."""


class Cover:
    """The boundary in arcs; `upper` is the largest bound that was accepted, and what the whole boundary is below."""

    def __init__(self, peak: Grid) -> None:
        self.peak, self.boundary = peak, peak.boundary
        self.upper, self.arcs = 0.0, 0

    def prove(self, budget: int | None = None) -> Cover:
        """Cover the boundary; a chart may cost `budget` arcs, as many as the boundary says by default."""
        if budget is None:
            budget = self.boundary.idle_arcs if self.peak.best == 0.0 else self.boundary.most_arcs
        for chart, grid, upper in self.peak.pending:
            self._cover(chart, grid, upper, budget)
        self.upper = max(self.upper, self.peak.best)
        return self

    def bound(self, chart: str, left: Array, right: Array, ends: Array) -> tuple[Array, Array, Array, Array]:
        """Return bounds on each arc, of the gain at its centre, what halving can remove, and what it cannot.

        `ends` (S,) are upper bounds of the gain at both ends of each arc.
        """
        centre, h = 0.5 * (left + right), half_width(chart, left, right)
        arc = self.boundary.arc(chart, centre, h)
        _, middle = self.peak.note(chart, centre, arc.value, arc.rounding, arc.loss_centre)
        beta = h * h * arc.second / 8.0
        peak = np.maximum(ends, middle)
        sup = up(beta + np.sqrt(beta * beta + peak * peak))
        sup = np.fmin(sup, up(np.sqrt(peak * peak + h * h * arc.curvature / 8.0)))
        sup = np.fmin(sup, arc.crude)
        result = up(arc.loss.ceiling(sup))
        lost, lost_centre = arc.loss.absolute, arc.loss_centre.absolute
        fixed = arc.rounding + lost_centre
        fixed = np.where(np.isfinite(fixed), fixed, 0.0)
        # a loss that is unbounded at the centre stays so on every part of the arc
        excess = np.where(np.isfinite(lost_centre), sup - peak + lost - lost_centre, 0.0)
        return np.where(np.isnan(result), np.inf, result), middle, excess, fixed

    def _cover(self, chart: str, grid: Array, upper: Array, budget: int) -> None:
        left, right, at_left, at_right = grid[:-1], grid[1:], upper[:-1], upper[1:]
        spent, chunk = 0, self.peak.chunk
        while left.size:
            now = slice(0, chunk)
            l, r, fl, fr = left[now], right[now], at_left[now], at_right[now]
            left, right, at_left, at_right = left[chunk:], right[chunk:], at_left[chunk:], at_right[chunk:]
            bound, middle, excess, fixed = self.bound(chart, l, r, np.maximum(fl, fr))
            spent += l.size
            mid = 0.5 * (l + r)
            harmless = np.maximum(HARMLESS * self.peak.rtol * self.peak.best, DROWNED * fixed)
            settled = (bound <= self.peak.level) | (excess <= harmless)
            settled |= ~((mid > l) & (mid < r)) | (r - l <= SHORTEST * np.maximum(np.abs(l), np.abs(r)))
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


class Arcs(ByShape):
    """The gain between two samples is at most the larger one plus the curvature that Taylor coefficients allow.

    Applies: few inputs and outputs, so that every sample may have its singular values; every resolvent.
    Cost: some ten to some thousand arcs, each O(n p m) for modes and O(n^3) for a resolvent.
    """

    name = "arcs"
    shape = "few"

    def prove(self, response: Response, peak: Peak, rtol: float) -> Proved:
        """Cover the boundary, beginning with the grid on which the peak was found."""
        assert isinstance(peak, Grid)
        cover = Cover(peak).prove()
        return Proved(cover.upper, {"arcs": cover.arcs})
