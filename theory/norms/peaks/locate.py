r"""A large gain of a modal sum with many modes, inputs and outputs, very likely the largest: where a proof begins."""

from __future__ import annotations

from math import remainder
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.rounding import SMALLEST
from theory.norms.peaks.lanczos import Gains
from theory.norms.peaks.peak import Peak
from theory.norms.responses.modes import ModalSum
from theory.systems.boundary import CIRCLE

Array = NDArray[Any]

WORTH_A_STEP, WORTH_MORE = 0.3, 0.7
"""Shares of the largest value: of the gain of orthogonal modes, to be estimated; of a rough estimate, to be refined."""

NEAR_TOP, NEAR_TOP_SOON, NEAR_TOP_AGAIN = 0.98, 0.9, 0.7
"""Shares of the largest gain from which a climb starts; where modes interfere; and in the second look, which has time.
"""

INTERFERE = 0.25
"""Share of the gain of orthogonal modes, where that is largest, below which the modes cancel, as in the error of a good
reduction: no single one says where the peak is. Of 17 such errors of the shipped S5's first layer the look at
resonances missed 13, and a proof that fails costs more than a grid."""

ASIDE_SOON, ASIDE = (-0.7, 0.0, 0.7), (-1.0, -0.4, 0.0, 0.4, 1.0)
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
            terms = np.abs(self.modes.amplitudes(chart, grid)) * self.modes.weights
            self.grids.append((chart, grid, np.linalg.norm(terms, axis=1)))  # as if the modes were orthogonal
        if thorough:
            self._locate_anywhere()
            return
        ceiling = max(float(sizes.max()) for _, _, sizes in self.grids)
        for chart, grid, sizes in self.grids:
            chosen = np.flatnonzero(sizes >= WORTH_A_STEP * ceiling)  # all of them where D is all there is
            chosen = chosen[np.argsort(sizes[chosen])[::-1][:most]]
            gains, vectors = self.gains.estimate(chart, grid[chosen], None, 2)
            final = np.argsort(gains)[::-1][:16]
            final = final[gains[final] > WORTH_MORE * gains.max(initial=0.0)]
            self._climb_from(chart, grid, chosen[final], vectors[:, final], climbers=3, near_top=NEAR_TOP)
        if self.modes.discrete and self.best < INTERFERE * ceiling:
            self._locate_anywhere(
                uniform=128, aside=ASIDE_SOON, steps=2, finalists=16, climbers=6, near_top=NEAR_TOP_SOON
            )

    def _locate_anywhere(
        self,
        *,
        uniform: int = 512,
        aside: tuple[float, ...] = ASIDE,
        steps: int = 3,
        finalists: int = 64,
        climbers: int = 24,
        near_top: float = NEAR_TOP_AGAIN,
    ) -> None:
        """All of the circle: where modes interfere, as in errors, the peaks are beside the resonances."""
        ((chart, low, high),) = self.modes.charts()
        beside = self.modes.margin * np.array(aside)[:, None]
        grid = np.concatenate([np.linspace(low, high, uniform + 1), (self.modes.resonances(chart) + beside).ravel()])
        grid = np.unique(grid[(grid >= low) & (grid <= high)])
        pieces = [self.gains.estimate(chart, x, None, steps) for x in np.array_split(grid, 1 + grid.size // 512)]
        gains, vectors = np.concatenate([piece[0] for piece in pieces]), np.hstack([piece[1] for piece in pieces])
        around = np.concatenate([[0.0], gains, [0.0]])
        top = np.flatnonzero((gains >= around[:-2]) & (gains >= around[2:]))
        top = top[np.argsort(gains[top])[::-1][:finalists]]
        self._climb_from(chart, grid, top, vectors[:, top], climbers=climbers, near_top=near_top)

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
        a = modes.amplitudes(self.chart, np.array([self.where]))[0]
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
        if self.modes.band is not None:
            gain, where, top = self._back_in_band(chart, gain, where, top)
        elif chart == CIRCLE and abs(where) > np.pi:  # a flat gain lets steps grow round the circle
            where = remainder(where, 2.0 * np.pi)
        # the mirror image, where the conjugate input attains the same
        if self.modes.band is None and self.modes.real and where < 0.0:
            where, top = -where, top.conj()
        self.note(chart, np.array([where]), np.array([gain]), top[:, None])

    def _back_in_band(self, chart: str, gain: float, where: float, top: Array) -> tuple[float, float, Array]:
        """A climb that left the band counts at the end where it did."""
        low, high = next((first, last) for name, first, last in self.modes.charts() if name == chart)
        inside = min(max(where, low), high)
        if inside == where:
            return gain, where, top
        gains, vectors = self.gains.estimate(chart, np.array([inside]), top[:, None], self.steps)
        return float(gains[0]), inside, vectors[:, 0]
