r"""The norm of a modal sum with many modes, inputs and outputs: branch and bound on few, well-chosen proofs.

For a unit vector u, :math:`f = \|Gu\|^2` has :math:`f'' = 2\|G'u\|^2 + 2\Re\,u^*G^*G''u \ge -2\,s\,S_2` where
:math:`s=\sup\|G\|,\ S_2=\sup\|G''\|`. Hence the gain stays below :math:`\gamma` on an arc :math:`|t|\le h` whose
two end points have a gain of at most :math:`\sqrt{\gamma^2 - h^2\gamma S_2}`.

Frobenius norms of the Taylor coefficients cost :math:`n^2` each and dismiss most of the boundary:
:math:`\|C\,\mathrm{diag}(x)B\|_F^2 = x^H\big[(C^HC)\circ(BB^H)^T\big]x`. Lanczos estimates
(:mod:`theory.norms.peaks.locate`), which are not trusted, steer; only the end points that remain are proved, each by
one Cholesky factorization (:mod:`theory.norms.responses.compression`).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.rounding import OPERATIONS_400, OPERATIONS_4000, OPERATIONS_40000, frobenius, gamma, up
from theory.arithmetic.singular_value import largest_gain
from theory.norms.loss import Loss
from theory.norms.peaks.locate import Located
from theory.norms.peaks.peak import Peak
from theory.norms.proofs.arcs import SHORTEST
from theory.norms.proofs.level_test import LevelTest
from theory.norms.proofs.proof import ByShape, Proved
from theory.norms.responses.compression import compress
from theory.norms.responses.modes import smallest_denominator
from theory.norms.responses.response import Response
from theory.systems.boundary import half_width

Array = NDArray[Any]

PLAUSIBLE = 0.25
"""Share of the squared level that curvature must leave to the ends of an arc, or it is halved before any proof."""

NOTEWORTHY = 0.2
"""Share of `rtol` by which an estimate must exceed the largest gain so far to be climbed from."""

FIRST_STEP, LEAST_STEP = 1e-3, 1e-12
"""Steps of that climb, rad or rad/s with poles of size one: where there is no other point, and at least."""


BLOCK = 256
"""Arcs that are bounded at once."""

MOST_WORK = 4e9
"""Arcs times squares of modes that the covering of a chart may cost, and :data:`LEAST_ARCS` at least: half a minute."""

LEAST_ARCS = 2_000
"""Arcs that a covering may cost whatever the number of modes; usual ones take a few hundred."""

PROVABLE = 1e-8
"""Tolerance, relative to the largest gain, at which a covering hardly ever fails: taken where a smaller one did."""


def spectral_bound(D: Array) -> float:
    """Upper bound of the spectral norm: exact for a diagonal matrix, else the best of three cheap ones."""
    size = np.abs(D)
    if not size.any():
        return 0.0
    sums = float(up(size.sum(axis=0).max(), D.shape[0])), float(up(size.sum(axis=1).max(), D.shape[1]))
    cheap = min(float(up(np.sqrt(sums[0] * sums[1]))), float(frobenius(D)))
    if np.count_nonzero(D) <= max(D.shape):
        return cheap
    return min(cheap, float(largest_gain(D.astype(complex)[None])[1][0]))


class LevelCover:
    """The boundary in arcs that stay below a level; `upper` is the proved bound."""

    def __init__(self, peak: Located, *, order: int = 5, workers: int = 2) -> None:
        self.peak, self.modes = peak, peak.modes
        self.order, self.workers, self.upper = order, workers, 0.0
        self.arcs = self.proofs = 0
        self.exhausted = False
        """Whether arcs were left over when the work came to its limit."""

    @property
    def most_arcs(self) -> int:
        """Arcs that the covering of a chart may cost."""
        return int(np.clip(MOST_WORK / max(self.modes.poles.size, 1) ** 2, LEAST_ARCS, self.modes.most_arcs))

    @cached_property
    def frobenius_kernel(self) -> Array:
        """The matrix of ``|C diag(x) B|_F^2`` as a form in x, (n, n)."""
        B, C = self.modes.B, self.modes.C
        return np.asarray((C.conj().T @ C) * (B @ B.conj().T).T)

    @cached_property
    def linear(self) -> Array | None:
        """``<D, c_i b_i>``, (n,), or ``None`` without feedthrough."""
        B, C, D = self.modes.B, self.modes.C, self.modes.D
        return np.asarray(np.einsum("pi,pi->i", C, D.conj() @ B.T, optimize=True)) if D.any() else None

    @cached_property
    def through(self) -> float:
        """Upper bound of ``|D|``."""
        return spectral_bound(self.modes.D)

    # ------------------------------------------------------------------------------------------ bounds on arcs
    def _sizes(self, x: Array, *, feedthrough: bool) -> Array:
        """Upper bounds of the Frobenius norms of ``C diag(x) B`` (plus D), (S,)."""
        modes, n = self.modes, self.modes.poles.size
        square = np.einsum("sn,sn->s", x.conj(), x @ self.frobenius_kernel.T).real
        through = float(frobenius(modes.D)) if feedthrough else 0.0
        if feedthrough and self.linear is not None:
            square = square + 2.0 * (x @ self.linear).real + through**2
        total = np.abs(x) @ modes.weights + through
        error = 3.0 * gamma(2 * n + sum(modes.D.shape) + 80) * total * total
        return np.asarray(up(np.sqrt(np.maximum(square, 0.0) + error), 32))

    def _bounds(self, chart: str, left: Array, right: Array) -> tuple[Array, Array, Array, Loss]:
        """Return on each arc: half width, bounds of the gain and of the second derivative, and the loss."""
        modes, K = self.modes, self.order
        centre, h = 0.5 * (left + right), half_width(chart, left, right)
        local = modes.local(chart, centre)
        size_b, size_q = np.abs(local.b), np.abs(local.q)
        mu = smallest_denominator(local, h)
        largest = np.abs(local.a) + size_b * h[:, None] / mu
        tail = (size_b * size_q ** (K - 1) / mu ** (K + 1)) @ modes.weights * (1 + OPERATIONS_40000)
        sizes = [self._sizes(local.a, feedthrough=True)]
        term = local.b
        for _ in range(1, K):
            sizes.append(self._sizes(term, feedthrough=False))
            term = term * (-1j * local.q)
        if self.linear is not None:
            sizes[0] = np.fmin(sizes[0], self.through + self._sizes(local.a, feedthrough=False))
        gain, second = tail * h**K, 2.0 * comb(K, 2) * h ** (K - 2) * tail
        for k, size in enumerate(sizes):
            gain = gain + size * h**k
            second = second + (2.0 * comb(k, 2) * size * h ** (k - 2) if k > 1 else 0.0)
        crude = (largest @ modes.weights + self.through) * (1 + OPERATIONS_40000)
        coarse = 2.0 * ((size_b * size_q / mu**3) @ modes.weights)
        loss = modes.loss(largest * (1 + OPERATIONS_400))
        return h, np.fmin(gain * (1 + OPERATIONS_4000), crude), np.fmin(second, coarse) * (1 + OPERATIONS_40000), loss

    # ------------------------------------------------------------------------------------------ the proof
    def prove(self, *, block: int = BLOCK, rounds: int = 70) -> LevelCover:
        """Prove the level arc by arc."""
        self.test = LevelTest(self.modes)
        for chart, grid, _ in self.peak.grids:
            self._cover(chart, grid, block, rounds)
        # every arc was proved below the target at that time; the target only grew
        self.upper = max(self.upper, float(up(self.peak.level)))
        return self

    def _cover(self, chart: str, grid: Array, block: int, rounds: int) -> None:
        left, right = grid[:-1], grid[1:]
        points: dict[float, tuple[float, Array]] = {}
        before = self.arcs
        for _ in range(rounds):
            if left.size == 0:
                return
            if self.arcs - before + left.size > self.most_arcs:
                self.exhausted = True
                break
            again_left, again_right, ready = [], [], []
            for start in range(0, left.size, block):
                l, r = left[start : start + block], right[start : start + block]
                h, gain, second, loss = self._bounds(chart, l, r)
                self.arcs += l.size
                target = loss.target(self.peak.level)
                dismissed = gain <= target
                need = target * target - h * h * target * second
                plausible = ~dismissed & (need > PLAUSIBLE * target * target)
                for index in np.flatnonzero(plausible):
                    ready.append((float(l[index]), float(r[index]), float(np.sqrt(need[index]))))
                split = ~dismissed & ~plausible
                again_left += [l[split]]
                again_right += [r[split]]
            l, r = np.concatenate(again_left), np.concatenate(again_right)
            bad = self._prove_points(chart, ready, points)
            l, r = np.concatenate([l, [item[0] for item in bad]]), np.concatenate([r, [item[1] for item in bad]])
            middle = 0.5 * (l + r)
            stuck = ~((middle > l) & (middle < r)) | (r - l <= SHORTEST * np.maximum(np.abs(l), np.abs(r)))
            if stuck.any():
                self._accept(chart, l[stuck], r[stuck])
            l, r, middle = l[~stuck], r[~stuck], middle[~stuck]
            left, right = np.concatenate([l, middle]), np.concatenate([middle, r])
        self._accept(chart, left, right)

    def _accept(self, chart: str, left: Array, right: Array) -> None:
        """Give up on these arcs: their Frobenius bound goes into the bracket, which stays open."""
        for start in range(0, left.size, BLOCK):
            _, gain, _, loss = self._bounds(chart, left[start : start + BLOCK], right[start : start + BLOCK])
            self.upper = max(self.upper, float(up(loss.ceiling(gain)).max()))

    def _prove_points(self, chart: str, ready: list[Any], points: dict[float, Any]) -> list[Any]:
        """Prove both end points of the arcs; return the arcs that need halving."""
        wanted = sorted({x for item in ready for x in item[:2]} - points.keys())
        for start in range(0, len(wanted), 256):
            x = np.array(wanted[start : start + 256])
            first = self._nearest(x, points)
            steps = self.peak.steps if first is None else max(5, self.peak.steps - 3)
            gains, vectors = self.peak.gains.estimate(chart, x, first, steps)
            old = self.peak.best
            self.peak.note(chart, x, gains, vectors)
            if self.peak.best > old * (1 + NOTEWORTHY * self.peak.rtol) and old > 0:
                index = int(gains.argmax())
                self.peak.climb(
                    chart, float(x[index]), vectors[:, index], float(np.diff(x).min(initial=FIRST_STEP)) + LEAST_STEP
                )
            for i, point in enumerate(wanted[start : start + 256]):
                points[point] = (float(gains[i]), vectors[:, i], np.inf)
        levels: dict[float, float] = {}
        promising, bad = [], []
        for item in ready:
            if max(points[item[0]][0], points[item[1]][0]) * (1 + OPERATIONS_4000) < item[2]:
                promising.append(item)
                for point in item[:2]:
                    levels[point] = min(levels.get(point, np.inf), item[2])
            else:
                bad.append(item)
        todo = [point for point in levels if points[point][2] > levels[point]]
        if todo:
            r = self.modes.local(chart, np.array(todo)).a
            self.proofs += len(todo)
            with ThreadPoolExecutor(self.workers) as pool:
                done = list(pool.map(lambda i: self.test.below(r[i], levels[todo[i]]), range(len(todo))))
            for point, ok in zip(todo, done, strict=True):
                if ok:
                    points[point] = (points[point][0], points[point][1], levels[point])
        for item in promising:
            if max(points[item[0]][2], points[item[1]][2]) > item[2]:
                bad.append(item)
        return bad

    def _nearest(self, x: Array, points: dict[float, Any]) -> Array | None:
        """Starting vectors: those of the nearest points that are known, or ``None``."""
        if len(points) < 2:
            return None
        known = np.array(sorted(points))
        right = np.clip(np.searchsorted(known, x), 1, known.size - 1)
        pick = np.where(np.abs(known[right] - x) < np.abs(known[right - 1] - x), right, right - 1)
        start = np.stack([points[float(known[i])][1] for i in pick], axis=1)
        return start


class Levels(ByShape):
    """A level is proved at the ends of few, well-chosen arcs, by one Cholesky factorization each.

    Applies: a modal sum with many inputs and outputs.
    Cost: O(n^2) for an arc, O(n^3) for each end that must be proved; with a feedthrough O(m p min(m, p)).
    """

    name = "levels"
    shape = "many"

    def prove(self, response: Response, peak: Peak, rtol: float) -> Proved:
        """Cover the boundary, of the system with at most n inputs and outputs."""
        assert isinstance(peak, Located)
        peak.move_to(compress(response.form))
        cover = LevelCover(peak).prove()
        upper, arcs, factorizations = cover.upper, cover.arcs, cover.proofs
        if cover.exhausted and rtol < PROVABLE:  # a level so close cannot be proved: the next best is worth having
            peak.rtol = PROVABLE
            cover = LevelCover(peak).prove()
            upper, arcs, factorizations = min(upper, cover.upper), arcs + cover.arcs, factorizations + cover.proofs
            peak.rtol = rtol
        return Proved(upper, {"arcs": arcs, "factorizations": factorizations})
