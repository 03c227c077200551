r"""A large gain of a modal sum with many modes, inputs and outputs, very likely the largest: where a proof begins."""

from __future__ import annotations

from math import remainder
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.rounding import SMALLEST
from theory.norms.peaks.peak import Peak
from theory.norms.responses.modes import ModalSum
from theory.systems.boundary import CIRCLE
from theory.systems.pairs import real_input, real_output

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

STIR = 1e-3
"""Of the first vector's size: a random part, so that it is not orthogonal to the leading one."""

EXHAUSTED = 1e-10
"""What is left of a Krylov vector after orthogonalization, relative to it, below which it is rounding."""

SETTLED, FLAT = 0.01, 0.002
"""Shares of `rtol`: what a round must win of the gain to go on, and what five points about a peak may differ by."""

NARROWER, INWARDS, OUTWARDS = 0.1, 0.15, 3.0
"""Factors of the step: of a new round; about a peak that was enclosed; uphill, as the first step may be much too small.
"""


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


class Gains:
    r"""Largest gains, and the inputs that attain them, at points of the boundary.

    Conjugate pairs are written with real matrices, which halves the work: with :math:`s=r_1+r_2,\ d=j(r_1-r_2)` of a
    pair its two states are :math:`(s\beta_1+d\beta_2,\ s\beta_2-d\beta_1)` where :math:`\beta_1+j\beta_2=bv`.
    """

    def __init__(self, modes: ModalSum) -> None:
        self.modes = modes
        h, B, C, D = modes.poles.size // 2, modes.B, modes.C, modes.D
        self.paired = modes.paired
        if self.paired:
            B, C = real_input(B[:h]), 0.5 * real_output(C[:, :h])
            D = D.real.copy()
        self.B, self.C, self.D, self.h = B, C, D, h
        self.adjoint_B, self.adjoint_C = B.conj().T.copy(), C.conj().T.copy()
        self.gram = self.adjoint_C @ C
        self.through = bool(D.any())
        # S5's D is diagonal: a product less
        diagonal = D.shape[0] == D.shape[1] and np.count_nonzero(D) == np.count_nonzero(np.diag(D))
        self.diagonal = np.diag(D)[:, None].copy() if diagonal else None

    def feed(self, v: Array, *, adjoint: bool = False) -> Array:
        """``D v`` or ``D^* v``."""
        if self.diagonal is not None:
            return np.asarray((self.diagonal.conj() if adjoint else self.diagonal) * v)
        return _times(self.D.conj().T if adjoint else self.D, v)

    def resolvents(self, chart: str, x: Array) -> tuple[Array, ...]:
        """The modes' resolvents at S points, (N, S); of conjugate pairs s and d, (h, S) each."""
        r = self.modes.amplitudes(chart, x).T
        return (r[: self.h] + r[self.h :], 1j * (r[: self.h] - r[self.h :])) if self.paired else (r,)

    def states(self, resolvents: tuple[Array, ...], inputs: Array) -> Array:
        """Apply :meth:`resolvents` to ``inputs``, (N, S) or (N, 1, k)."""
        factors = resolvents if inputs.ndim == 2 else tuple(part[:, :, None] for part in resolvents)
        if not self.paired:
            return np.asarray(factors[0] * inputs)
        s, d = factors
        first, second = inputs[: self.h], inputs[self.h :]
        return np.concatenate([s * first + d * second, s * second - d * first])

    def estimate(self, chart: str, x: Array, start: Array | None, steps: int) -> tuple[Array, Array]:
        """Return Lanczos estimates of the gain at every point and the unit vectors that attain them, (m, S)."""
        modes = self.modes
        k = modes.B.shape[1]
        if start is None:
            dominant = np.argmax(np.abs(modes.amplitudes(chart, x).T) * modes.weights[:, None], axis=0)
            start = modes.B[dominant].conj().T + STIR * np.random.default_rng(0).normal(size=(k, x.size))
        forth = self.resolvents(chart, x)
        back = tuple(sign * part.conj() for sign, part in zip((1.0, -1.0), forth))  # of d, -conj(d)

        def normal_map(v: Array) -> Array:
            y = _times(self.C, self.states(forth, _times(self.B, v)))
            y = y + self.feed(v) if self.through else y
            z = _times(self.adjoint_B, self.states(back, _times(self.adjoint_C, y)))
            return z + self.feed(y, adjoint=True) if self.through else z

        basis = [_unit(start)[0]]
        T = np.zeros((x.size, steps, steps))
        for i in range(steps):
            w = normal_map(basis[-1])
            T[:, i, i] = np.einsum("ks,ks->s", basis[-1].conj(), w).real
            whole = np.linalg.norm(w, axis=0)
            for v in basis:
                w = w - v * np.einsum("ks,ks->s", v.conj(), w)
            # what is left of an exhausted Krylov space is rounding, not orthogonal to the basis: it must not count
            w, size = _unit(np.where(np.linalg.norm(w, axis=0) > EXHAUSTED * whole, w, 0.0))
            if i + 1 < steps:
                T[:, i, i + 1] = T[:, i + 1, i] = size
            basis.append(w)
        values, vectors = np.linalg.eigh(T)
        top = np.zeros((k, x.size), complex)
        for i in range(steps):
            top += basis[i] * vectors[:, i, -1]
        return np.sqrt(np.maximum(values[:, -1], 0.0)), _unit(top)[0]

    def climb(
        self, chart: str, x: float, vector: Array, width: float, rtol: float, *, steps: int = 5, rounds: int = 4
    ) -> tuple[float, float, Array]:
        """Return a gain near a local maximum, its point, and the input that attains it.

        The leading inputs at a few points span a small space that nearly contains those in between, so the gain of the
        inputs in this space is maximised, and the leading input there joins the space.
        """
        points = x + width * np.array([-0.5, 0.0, 0.5])
        gains, V = self.estimate(chart, points, np.repeat(vector[:, None], 3, axis=1), steps)
        best, where, top = float(gains[1]), x, V[:, 1]
        for round_ in range(rounds):
            found = self._climb_in(chart, where, np.linalg.qr(V)[0], width * NARROWER**round_, rtol)
            gains, vectors = self.estimate(chart, np.array([found]), top[:, None], steps)
            gained, V = float(gains[0]) - best, np.hstack([V, vectors])
            if gained > 0:
                best, where, top = float(gains[0]), found, vectors[:, 0]
            if gained <= SETTLED * rtol * best:
                break
        return best, where, top

    def _climb_in(self, chart: str, x: float, V: Array, width: float, rtol: float, *, rounds: int = 14) -> float:
        """Maximise the gain over inputs in the span of the orthonormal V by parabolas through five points."""
        states = _times(self.B, V)
        direct = self.feed(V) if self.through else None

        def gains(grid: Array) -> Array:
            y = self.states(self.resolvents(chart, grid), states[:, None, :])
            moved = _times(self.gram, y.reshape(y.shape[0], -1)).reshape(y.shape)
            square = np.einsum("nsi,nsj->sij", y.conj(), moved, optimize=True)
            if direct is not None:
                cross = np.einsum("in,nsj->sij", _times(self.adjoint_C, direct).conj().T, y, optimize=True)
                square = square + cross + np.conj(np.swapaxes(cross, 1, 2)) + direct.conj().T @ direct
            return np.sqrt(np.maximum(np.linalg.eigvalsh(square)[:, -1], 0.0))

        for _ in range(rounds):
            grid = x + width * np.linspace(-1.0, 1.0, 5)
            values = gains(grid)
            top = int(values.argmax())
            x = float(grid[top])
            if 0 < top < 4:
                a, b, c = values[top - 1 : top + 2]
                bend = a - 2 * b + c
                x += 0.5 * (a - c) / bend * (grid[1] - grid[0]) if bend < 0 else 0.0
                width *= INWARDS
                if np.ptp(values) <= FLAT * rtol * values.max():
                    break
            else:  # uphill, and faster: the first width may be much too small
                width *= OUTWARDS
        return x


def _unit(v: Array) -> tuple[Array, Array]:
    size = np.linalg.norm(v, axis=0)
    return v / np.where(size > 0, size, 1.0), size


def _times(matrix: Array, v: Array) -> Array:
    """``matrix @ v`` for complex v; a real matrix is not made complex."""
    if np.iscomplexobj(matrix):
        return np.asarray(matrix @ v)
    v = np.ascontiguousarray(v, dtype=complex)
    return np.asarray((matrix @ v.view(float)).view(complex))
