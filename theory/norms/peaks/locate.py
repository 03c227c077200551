r"""A large gain of a modal sum with many modes, inputs and outputs, very likely the largest: where a proof begins."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.rounding import SMALLEST
from theory.norms.peaks.climb import Gains
from theory.norms.peaks.peak import Peak
from theory.norms.responses.modes import ModalSum

Array = NDArray[Any]

WORTH_A_STEP, WORTH_MORE = 0.3, 0.7
"""Shares of the largest value: of the gain of orthogonal modes, to be estimated; of a rough estimate, to be refined."""

NEAR_TOP, NEAR_TOP_AGAIN = 0.98, 0.7
"""Shares of the largest gain from which a climb starts; in the second look, which has more time."""

ASIDE = (-1.0, -0.4, 0.0, 0.4, 1.0)
"""Points beside a resonance, in its stability margins: where modes interfere, peaks are there."""


class Located(Peak):
    """A search by Lanczos estimates: a step costs a product with B and C at every point of a grid, and of climbs."""

    vector: Array

    def __init__(self, modes: ModalSum, rtol: float, *, steps: int = 8) -> None:
        super().__init__(rtol)
        self.modes, self.steps = modes, steps
        self.vector = np.zeros(modes.B.shape[1], complex)
        self.grids: list[tuple[str, Array, Array]] = []
        self.gains = Gains(modes)

    def locate(self, *, uniform: int = 64, most: int = 192, thorough: bool = False) -> None:
        """Find a large gain, very likely the largest: no part of the proof, but its price depends on it."""
        self.grids = []
        for chart, low, high in self.modes.charts():
            resonances = self.modes.resonances(chart)
            grid = np.concatenate([np.linspace(low, high, uniform + 1), resonances])
            grid = np.unique(grid[(grid >= low) & (grid <= high)])
            terms = np.abs(self.modes.local(chart, grid).a) * self.modes.weights
            self.grids.append((chart, grid, np.linalg.norm(terms, axis=1)))  # as if the modes were orthogonal
        if thorough:
            self._locate_anywhere()
            return
        ceiling = max(float(sizes.max()) for _, _, sizes in self.grids)
        for chart, grid, sizes in self.grids:
            chosen = np.flatnonzero(sizes > WORTH_A_STEP * ceiling)
            chosen = chosen[np.argsort(sizes[chosen])[::-1][:most]]
            gains, vectors = self.gains.estimate(chart, grid[chosen], None, 2)
            final = np.argsort(gains)[::-1][:16]
            final = final[gains[final] > WORTH_MORE * gains.max(initial=0.0)]
            self._climb_from(chart, grid, chosen[final], vectors[:, final], climbers=3, near_top=NEAR_TOP)

    def _locate_anywhere(self, *, uniform: int = 512, finalists: int = 64) -> None:
        """The second look, on the circle: where modes interfere, as in errors, the peaks are beside the resonances."""
        ((chart, low, high),) = self.modes.charts()
        aside = self.modes.margin * np.array(ASIDE)[:, None]
        grid = np.concatenate([np.linspace(low, high, uniform + 1), (self.modes.resonances(chart) + aside).ravel()])
        grid = np.unique(grid[(grid >= low) & (grid <= high)])
        pieces = [self.gains.estimate(chart, x, None, 3) for x in np.array_split(grid, 1 + grid.size // 512)]
        gains, vectors = np.concatenate([piece[0] for piece in pieces]), np.hstack([piece[1] for piece in pieces])
        beside = np.concatenate([[0.0], gains, [0.0]])
        top = np.flatnonzero((gains >= beside[:-2]) & (gains >= beside[2:]))
        top = top[np.argsort(gains[top])[::-1][:finalists]]
        self._climb_from(chart, grid, top, vectors[:, top], climbers=24, near_top=NEAR_TOP_AGAIN)

    def _climb_from(
        self, chart: str, grid: Array, chosen: Array, vectors: Array, *, climbers: int, near_top: float
    ) -> None:
        """Better estimates at these points of the grid, and a climb from the largest ones."""
        gains, vectors = self.gains.estimate(chart, grid[chosen], vectors, max(5, self.steps - 3))
        self.note(chart, grid[chosen], gains, vectors)
        for index in np.argsort(gains)[::-1][:climbers]:
            if gains[index] > near_top * self.best:
                near = np.abs(grid - grid[chosen[index]])
                self.climb(chart, float(grid[chosen[index]]), vectors[:, index], float(np.min(near[near > 0])))

    def state(self) -> Array:
        """The modes' amplitudes where the largest gain was found, for the input that attains it.

        Of reverse modes those of the adjoint system, for the output that attains it.
        """
        modes, v = self.modes, self.vector
        a = modes.local(self.chart, np.array([self.where])).a[0]
        amplitudes = a * (modes.B @ v)
        if not modes.reverse.any():
            return np.asarray(amplitudes)
        u = modes.C @ amplitudes + modes.D @ v
        u = u / max(float(np.linalg.norm(u)), SMALLEST)
        return np.asarray(np.where(modes.reverse, a.conj() * (modes.C.conj().T @ u), amplitudes))

    def move_to(self, modes: ModalSum) -> None:
        """Search again in another form of the system, if it is another one."""
        if modes is not self.modes:
            self.__init__(modes, self.rtol, steps=self.steps)  # type: ignore[misc]
            self.locate()

    def note(self, chart: str, x: Array, gains: Array, vectors: Array) -> None:
        """Remember the largest of these gains, and the input that attains it."""
        if gains.size and gains.max() > self.best:
            index = int(gains.argmax())
            self.best, self.chart, self.where = float(gains[index]), chart, float(x[index])
            self.vector = vectors[:, index]

    def climb(self, chart: str, x: float, vector: Array, width: float) -> None:
        """Climb from a point where this input has a large gain; `width` is the first step."""
        gain, where, top = self.gains.climb(chart, x, vector, width, self.rtol)
        self.note(chart, np.array([where]), np.array([gain]), top[:, None])
