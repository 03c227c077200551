r"""The norm of a modal sum with many modes, inputs and outputs: branch and bound on few, well-chosen proofs.

For a unit vector u, :math:`f = \|Gu\|^2` has :math:`f'' = 2\|G'u\|^2 + 2\Re\,u^*G^*G''u \ge -2\,s\,S_2` where
:math:`s=\sup\|G\|,\ S_2=\sup\|G''\|`. Hence the gain stays below :math:`\gamma` on an arc :math:`|t|\le h` whose
two end points have a gain of at most :math:`\sqrt{\gamma^2 - h^2\gamma S_2}`.

Frobenius norms of the Taylor coefficients cost :math:`n^2` each and dismiss most of the boundary:
:math:`\|C\,\mathrm{diag}(x)B\|_F^2 = x^H\big[(C^HC)\circ(BB^H)^T\big]x`. Lanczos estimates, which are not trusted,
steer; only the end points that remain are proved, each by one Cholesky factorization (:mod:`theory.norm_compress`).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.norm_compress import LevelTest
from theory.norm_gain import largest_gain
from theory.norm_modes import CIRCLE, ModalSum, smallest_denominator
from theory.norm_rounding import frobenius, gamma, up

Array = NDArray[Any]


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


class LargeSearch:
    """One search; `best` is an estimate of the largest gain, `upper` the proved bound."""

    def __init__(self, modes: ModalSum, rtol: float, *, order: int = 5, steps: int = 8, workers: int = 2) -> None:
        self.modes, self.rtol, self.order, self.steps, self.workers = modes, rtol, order, steps, workers
        self.best, self.chart, self.where, self.upper = 0.0, CIRCLE, 0.0, 0.0
        self.arcs = self.proofs = 0
        B, C = modes.B, modes.C
        self.frobenius_kernel = (C.conj().T @ C) * (B @ B.conj().T).T
        self.linear = np.einsum("im,pm,pi->i", B, modes.D.conj(), C, optimize=True) if modes.D.any() else None
        self.adjoint_B, self.adjoint_C = B.conj().T.copy(), C.conj().T.copy()
        self.test = LevelTest(modes)
        self.through = spectral_bound(modes.D)

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

    def _bounds(self, chart: str, left: Array, right: Array) -> tuple[Array, Array, Array, Array]:
        """Return on each arc: half width, bound of the gain, of the second derivative, and of the model error."""
        modes, K = self.modes, self.order
        centre = 0.5 * (left + right)
        if chart == CIRCLE:
            h = np.tan((right - left) / 4.0) * (1 + 1e-15) + 1e-15
        else:
            h = (right - left) / 2.0 * (1 + 1e-15) + 4.5e-16 * np.maximum(np.abs(left), np.abs(right))
        local = modes.local(chart, centre)
        size_b, size_q = np.abs(local.b), np.abs(local.q)
        mu = smallest_denominator(local, h)
        largest = np.abs(local.a) + size_b * h[:, None] / mu
        tail = (size_b * size_q ** (K - 1) / mu ** (K + 1)) @ modes.weights * (1 + 1e-11)
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
        crude = (largest @ modes.weights + self.through) * (1 + 1e-11)
        coarse = 2.0 * ((size_b * size_q / mu**3) @ modes.weights)
        extra = modes.model_error(largest * (1 + 1e-13))
        return h, np.fmin(gain * (1 + 1e-12), crude), np.fmin(second, coarse) * (1 + 1e-11), extra

    # ------------------------------------------------------------------------------------------ estimates
    def estimate(self, chart: str, x: Array, start: Array | None, steps: int) -> tuple[Array, Array]:
        """Return Lanczos estimates (from below) of the gain at every point and the vectors that attain them, (m, S)."""
        modes = self.modes
        r = modes.local(chart, x).a.T
        k = modes.B.shape[1]
        if start is None:
            dominant = np.argmax(np.abs(r) * modes.weights[:, None], axis=0)
            start = self.adjoint_B[:, dominant] + 1e-3 * np.random.default_rng(0).normal(size=(k, x.size))

        def normal_map(v: Array) -> Array:
            y = modes.C @ (r * (modes.B @ v))
            y = y + modes.D @ v if modes.D.any() else y
            z = self.adjoint_B @ (r.conj() * (self.adjoint_C @ y))
            return np.asarray(z + modes.D.conj().T @ y if modes.D.any() else z)

        def unit(v: Array) -> tuple[Array, Array]:
            size = np.linalg.norm(v, axis=0)
            return v / np.where(size > 0, size, 1.0), size

        basis = [unit(start)[0]]
        alpha, beta = [], []
        for _ in range(steps):
            w = normal_map(basis[-1])
            alpha.append(np.einsum("ks,ks->s", basis[-1].conj(), w).real)
            for v in basis:
                w = w - v * np.einsum("ks,ks->s", v.conj(), w)
            w, size = unit(w)
            beta.append(size)
            basis.append(w)
        T = np.zeros((x.size, steps, steps))
        for i in range(steps):
            T[:, i, i] = alpha[i]
            if i:
                T[:, i, i - 1] = T[:, i - 1, i] = beta[i - 1]
        values, vectors = np.linalg.eigh(T)
        top = np.zeros((k, x.size), complex)
        for i in range(steps):
            top += basis[i] * vectors[:, i, -1]
        return np.sqrt(np.maximum(values[:, -1], 0.0)), unit(top)[0]

    def _note(self, chart: str, x: Array, gains: Array) -> None:
        if gains.size and gains.max() > self.best:
            index = int(gains.argmax())
            self.best, self.chart, self.where = float(gains[index]), chart, float(x[index])

    def refine(self, chart: str, x: float, vector: Array, width: float, *, rounds: int = 12, points: int = 5) -> None:
        """Climb to the local peak by parabolas through five points, narrower each time."""
        for _ in range(rounds):
            grid = x + width * np.linspace(-1, 1, points)
            gains, vectors = self.estimate(chart, grid, np.repeat(vector[:, None], points, axis=1), self.steps)
            self._note(chart, grid, gains)
            top = int(gains.argmax())
            vector = vectors[:, top]
            if 0 < top < points - 1:
                a, b, c = gains[top - 1 : top + 2]
                bend = a - 2 * b + c
                x = float(grid[top]) + (0.5 * (a - c) / bend * (grid[1] - grid[0]) if bend < 0 else 0.0)
                width *= 0.15
                if gains.max() - gains.min() <= 0.02 * self.rtol * gains.max():
                    return
            else:
                x = float(grid[top])

    # ------------------------------------------------------------------------------------------ the proof
    def prove(self, *, uniform: int = 64, block: int = 256, rounds: int = 70) -> None:
        """Find the largest gain, then cover the boundary."""
        grids = []
        for chart, low, high in self.modes.charts():
            resonances = self.modes.resonances(chart)
            inside = resonances[(resonances > low) & (resonances < high)]
            grid = np.unique(np.concatenate([np.linspace(low, high, uniform + 1), inside]))
            sizes = self._sizes(self.modes.local(chart, grid).a, feedthrough=False)
            grids.append((chart, grid, sizes))
        ceiling = max(float(sizes.max()) for _, _, sizes in grids)
        for chart, grid, sizes in grids:
            chosen = np.flatnonzero(sizes > 0.3 * ceiling)
            chosen = chosen[np.argsort(sizes[chosen])[::-1][:192]]
            gains, vectors = self.estimate(chart, grid[chosen], None, self.steps)
            self._note(chart, grid[chosen], gains)
            for index in np.argsort(gains)[::-1][:3]:
                if gains[index] > 0.95 * self.best:
                    near = np.abs(grid - grid[chosen[index]])
                    width = float(np.min(near[near > 0]))
                    self.refine(chart, float(grid[chosen[index]]), vectors[:, index], width)
        for chart, grid, _ in grids:
            self._cover(chart, grid, block, rounds)
        # every arc was proved below the target at that time; the target only grew
        self.upper = max(self.upper, float(up(self.best * (1.0 + 0.9 * self.rtol))))

    def _cover(self, chart: str, grid: Array, block: int, rounds: int) -> None:
        left, right = grid[:-1], grid[1:]
        points: dict[float, tuple[float, Array]] = {}
        for _ in range(rounds):
            if left.size == 0:
                return
            again_left, again_right, ready = [], [], []
            for start in range(0, left.size, block):
                l, r = left[start : start + block], right[start : start + block]
                h, gain, second, extra = self._bounds(chart, l, r)
                self.arcs += l.size
                target = self._target(extra)
                dismissed = gain <= target
                need = target * target - h * h * target * second
                plausible = ~dismissed & (need > 0.25 * target * target)
                for index in np.flatnonzero(plausible):
                    ready.append((float(l[index]), float(r[index]), float(np.sqrt(need[index])), float(extra[index])))
                split = ~dismissed & ~plausible
                again_left += [l[split]]
                again_right += [r[split]]
            l, r = np.concatenate(again_left), np.concatenate(again_right)
            bad = self._prove_points(chart, ready, points)
            l, r = np.concatenate([l, [item[0] for item in bad]]), np.concatenate([r, [item[1] for item in bad]])
            middle = 0.5 * (l + r)
            stuck = ~((middle > l) & (middle < r)) | (r - l <= 1e-15 * np.maximum(np.abs(l), np.abs(r)))
            if stuck.any():
                self._accept(chart, l[stuck], r[stuck])
            l, r, middle = l[~stuck], r[~stuck], middle[~stuck]
            left, right = np.concatenate([l, middle]), np.concatenate([middle, r])
        self._accept(chart, left, right)

    def _target(self, extra: Any) -> Any:
        return self.best * (1.0 + 0.9 * self.rtol) * (1.0 - self.modes.inflation) - extra

    def _accept(self, chart: str, left: Array, right: Array) -> None:
        """Give up on these arcs: their Frobenius bound goes into the bracket, which stays open."""
        if left.size:
            _, gain, _, extra = self._bounds(chart, left, right)
            self.upper = max(self.upper, float(up((gain + extra) * (1.0 + self.modes.inflation)).max()))

    def _prove_points(self, chart: str, ready: list[Any], points: dict[float, Any]) -> list[Any]:
        """Prove both end points of the arcs; return the arcs that need halving."""
        wanted = sorted({x for item in ready for x in item[:2]} - points.keys())
        for start in range(0, len(wanted), 256):
            x = np.array(wanted[start : start + 256])
            first = self._nearest(x, points)
            gains, vectors = self.estimate(chart, x, first, self.steps if first is None else max(5, self.steps - 3))
            old = self.best
            self._note(chart, x, gains)
            if self.best > old * (1 + 0.2 * self.rtol) and old > 0:
                index = int(gains.argmax())
                self.refine(chart, float(x[index]), vectors[:, index], float(np.diff(x).min(initial=1e-3)) + 1e-12)
            for i, point in enumerate(wanted[start : start + 256]):
                points[point] = (float(gains[i]), vectors[:, i], np.inf)
        levels: dict[float, float] = {}
        promising, bad = [], []
        for item in ready:
            if max(points[item[0]][0], points[item[1]][0]) * (1 + 1e-12) < item[2]:
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
