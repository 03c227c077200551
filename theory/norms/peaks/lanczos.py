"""Largest gains of a modal sum at many points of the boundary by Lanczos steps, and climbs from one of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.norms.responses.modes import ModalSum
from theory.systems.pairs import real_input, real_output

Array = NDArray[Any]

STIR = 1e-3
"""Of the first vector's size: a random part, so that it is not orthogonal to the leading one."""

EXHAUSTED = 1e-10
"""What is left of a Krylov vector after orthogonalization, relative to it, below which it is rounding."""

SETTLED, FLAT = 0.01, 0.002
"""Shares of `rtol`: what a round must win of the gain to go on, and what five points about a peak may differ by."""

NARROWER, INWARDS, OUTWARDS = 0.1, 0.15, 3.0
"""Factors of the step: of a new round; about a peak that was enclosed; uphill, as the first step may be much too small.
"""


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
