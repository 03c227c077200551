"""The largest gain of a response whose samples are cheap: a grid of pole angles, and a zoom on its best points."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.rounding import up
from theory.arithmetic.singular_value import largest_gain
from theory.norms.loss import Loss
from theory.norms.peaks.peak import Peak
from theory.norms.responses.response import Boundary

Array = NDArray[Any]

UNIFORM = 16
"""Equal steps of the first grid, besides the pole angles: a peak that no pole explains is broader than these."""

CHUNK_NUMBERS, SMALLEST_CHUNK, LARGEST_CHUNK = 4e5, 8, 4096
"""Numbers that are sampled at once (3 MB, the second-level cache), and limits of the number of points."""

ZOOM_POINTS, ZOOM_ROUNDS = 9, 40
"""Points of a neighbourhood, of which a round keeps a quarter: 40 rounds reach the last bit of a frequency."""

ZOOMS = 6
"""Neighbourhoods that are zoomed in on: two conjugate peaks, and some that the grid ranks wrongly."""

FLAT = 0.01
"""A neighbourhood that varies by less than this share of `rtol` will not raise the lower end any more."""

RIVAL = 0.5
"""A neighbourhood below this share of the largest gain is given up."""

LAST_BITS = 1e-15
"""Width in rad, or rad/s with poles of size one, of a neighbourhood that the frequency's last bits resolve."""


class Grid(Peak):
    """A search on a grid; the ends of the grid's arcs and their gains stay for the proof (`pending`)."""

    def __init__(self, boundary: Boundary, rtol: float) -> None:
        super().__init__(rtol)
        self.boundary = boundary
        self.chunk = max(SMALLEST_CHUNK, min(LARGEST_CHUNK, int(CHUNK_NUMBERS / max(boundary.work, 1))))
        self.pending: list[tuple[str, Array, Array]] = []

    def search(self) -> Grid:
        """Sample the first grid and zoom in on its best points."""
        for chart, low, high in self.boundary.charts():
            resonances = self.boundary.resonances(chart)
            inside = resonances[(resonances > low) & (resonances < high)]
            grid = np.unique(np.concatenate([np.linspace(low, high, UNIFORM + 1), inside]))
            _, upper = self.sample(chart, grid)
            self.pending.append((chart, grid, upper))
        for chart, grid, upper in self.pending:
            if grid.size > 1:
                self._zoom(chart, grid, upper)
        return self

    def sample(self, chart: str, x: Array) -> tuple[Array, Array]:
        """Return (estimate, upper bound) of the gain at the points `x`, loss apart; remember the best attained."""
        estimates, uppers = np.empty(x.size), np.empty(x.size)
        for start in range(0, x.size, self.chunk):
            part = slice(start, start + self.chunk)
            estimates[part], uppers[part] = self.note(chart, x[part], *self.boundary.response(chart, x[part]))
        return estimates, uppers

    def note(self, chart: str, x: Array, value: Array, rounding: Array, loss: Loss) -> tuple[Array, Array]:
        """The same for samples that were taken already."""
        estimate, upper = largest_gain(value)
        attained = loss.plus(rounding + (upper - estimate)).attained(estimate)
        attained = np.where(np.isfinite(attained), attained, -np.inf)
        if attained.size and attained.max() > self.best:
            index = int(attained.argmax())
            self.best, self.chart, self.where = float(attained[index]), chart, float(x[index])
        return estimate, up(upper + rounding)

    def _zoom(self, chart: str, grid: Array, upper: Array) -> None:
        """Zoom in on the best few grid neighbourhoods at once, a factor 4 each round."""
        order = np.argsort(upper)[::-1][:ZOOMS]
        low, high = grid[np.maximum(order - 1, 0)], grid[np.minimum(order + 1, upper.size - 1)]
        for _ in range(ZOOM_ROUNDS):
            x = low[:, None] + (high - low)[:, None] * np.linspace(0.0, 1.0, ZOOM_POINTS)
            before = self.best
            value = self.sample(chart, x.ravel())[0].reshape(x.shape)
            top, rows = value.argmax(axis=1), np.arange(len(low))
            low, high = x[rows, np.maximum(top - 1, 0)], x[rows, np.minimum(top + 1, ZOOM_POINTS - 1)]
            largest = value.max(axis=1)
            flat = largest - value.min(axis=1) <= FLAT * self.rtol * largest
            alive = ~flat & (largest > RIVAL * self.best)
            low, high = low[alive], high[alive]
            if low.size == 0 or (before == self.best and (high - low).max() < LAST_BITS):
                break
