r"""A triangular dense system along the boundary: solved by substitution, whose rounding is small entry by entry.

A computed solution of a triangular :math:`Mx=b` solves :math:`(M+\Delta)x=b` with :math:`|\Delta|\le\gamma_n|M|` entry
by entry (Higham, *Accuracy and Stability*, thm 8.5), however the states are scaled, so that it is off by at most
:math:`\gamma_n\langle M\rangle^{-1}|M||x|`. The comparison matrix :math:`\langle M\rangle` has the sizes of the
diagonal, and minus those of what is beside it; its inverse is nonnegative, bounds :math:`|M^{-1}|`, and with the least
distances to the poles on an arc it bounds the resolvent of the whole arc. Eigenvectors, which a chain of lags does not
have in float64, are not needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.arithmetic.rounding import OPERATIONS_40, OPERATIONS_40000, SMALLEST, TINY, UNIT, frobenius, gamma, up
from theory.norms.bracket import Bracket
from theory.norms.loss import Loss
from theory.norms.responses.derivatives import derivative_bounds
from theory.norms.responses.modes import Arc, scales
from theory.norms.responses.response import Response
from theory.systems.boundary import AXIS, CIRCLE, INFINITY, charts, resonances
from theory.systems.margin import discrete_margin
from theory.systems.system import StateSpace, System
from theory.systems.triangular import triangular_order

Array = NDArray[Any]

DIAGONAL = 64.0 * UNIT
"""Relative: rounding of a computed distance of a point of the boundary from a pole."""

ANGLE = 2e-15
"""Absolute, rad: rounding of the difference of two angles."""

MOST_WORK, FEWEST_ARCS, MOST_ARCS = 4e9, 200, 20_000
"""Numbers that a covering may touch, some seconds, over those of one arc; and limits of the number of arcs."""


@dataclass(frozen=True, kw_only=True)
class Substitution:
    """``D + C (zI - A)^{-1} B`` with a lower triangular A."""

    A: Array
    B: Array
    C: Array
    D: Array
    discrete: bool
    real: bool
    order: int = 8
    relative_loss: float = 0.0
    few: bool = True

    @property
    def real_system(self) -> bool:
        """Whether both halves of the boundary are alike."""
        return self.real

    @property
    def poles(self) -> Array:
        """The diagonal, exactly the poles."""
        return np.diag(self.A).astype(complex)

    @property
    def work(self) -> int:
        """Numbers that a sample takes."""
        return int(self.order * self.B.size + self.D.size)

    @property
    def most_arcs(self) -> int:
        """Arcs that a covering may cost."""
        one = self.order * np.count_nonzero(self.A) * self.B.shape[1]
        return int(np.clip(MOST_WORK / max(one, 1), FEWEST_ARCS, MOST_ARCS))

    @property
    def idle_arcs(self) -> int:
        """The same: nothing better comes."""
        return self.most_arcs

    def charts(self) -> list[tuple[str, float, float]]:
        """Return the arcs that cover the boundary: (chart, from, to)."""
        return charts(discrete=self.discrete, real=self.real, radius=float(np.abs(self.poles).max(initial=0.0)))

    def resonances(self, chart: str) -> Array:
        """Return the boundary coordinates next to the poles."""
        return resonances(chart, self.poles)

    # ------------------------------------------------------------------------------------------ one point
    def _matrix(self, chart: str, x: Array) -> tuple[Array, Array, Array]:
        """Return the diagonal of M at the points, (S, n), the factor of what is beside it, (S,), and z or 1, (S,)."""
        pole, one = self.poles[None], np.ones(x.size)
        if chart == CIRCLE:
            z = np.cos(x) + 1j * np.sin(x)
            return (z[:, None] - pole) + (z * discrete_margin(z))[:, None], one + 0j, z + z * discrete_margin(z)
        if chart == AXIS:
            return -pole.real + 1j * (x[:, None] - pole.imag), one + 0j, one + 0j
        return 1.0 + 1j * x[:, None] * pole, -1j * x, one + 0j

    def _solve(self, diagonal: Array, beside: Array, right: Array) -> Array:
        """Solve ``M x = right``, (S, n, m), row by row; the rows of M beside the diagonal are ``-beside A``."""
        x = np.zeros(right.shape, np.result_type(diagonal, beside, right))
        for i in range(self.A.shape[0]):
            columns = np.flatnonzero(self.A[i, :i])
            total = right[:, i]
            if columns.size:
                total = total + beside[:, None] * np.einsum("j,sjm->sm", self.A[i, columns], x[:, columns])
            x[:, i] = total / diagonal[:, i, None]
        return x

    def _sizes(self, least: Array, beside: Array, right: Array) -> Array:
        """Upper bounds of ``<M>^{-1} right`` for sizes `least` of the diagonal: all terms are positive.

        What underflows on the way is paid for in every row.
        """
        n = self.A.shape[0]
        size = self._absolute._solve(least * (1.0 - DIAGONAL), beside, right + TINY)
        return np.asarray(size * (1.0 + 4.0 * n * (n + 100) * UNIT))

    @property
    def _absolute(self) -> Substitution:
        return Substitution(A=np.abs(self.A), B=self.B, C=self.C, D=self.D, discrete=self.discrete, real=self.real)

    def _solved(self, diagonal: Array, beside: Array, right: Array, error: Array) -> tuple[Array, Array]:
        """Return the computed solution, and bounds of its errors where `right` is off by `error`, entry by entry."""
        n = self.A.shape[0]
        x = self._solve(diagonal, beside, right)
        size, least, side = np.abs(x), np.abs(diagonal), np.abs(beside)
        product = least[:, :, None] * size + side[:, None, None] * (np.tril(np.abs(self.A), -1) @ size)
        source = error + (gamma(n + 8) + 2.0 * DIAGONAL) * product + SMALLEST * (1.0 + least[:, :, None])
        return x, self._sizes(least, side, source)

    def response(self, chart: str, x: Array) -> tuple[Array, Array, Loss]:
        """Return the response at the points `x`, (S, p, m), its rounding, (S,), and its loss, which is none."""
        x = np.asarray(x, dtype=float)
        diagonal, beside, _ = self._matrix(chart, x)
        state, error = self._solved(diagonal, beside, *self._sources(x.size))
        value, rounding = self._value(chart, x, state, error)
        return value, rounding, Loss(absolute=np.zeros(x.size))

    def _sources(self, count: int) -> tuple[Array, Array]:
        right = np.broadcast_to(self.B, (count, *self.B.shape))
        return right, np.zeros(right.shape)

    def _value(self, chart: str, x: Array, state: Array, error: Array) -> tuple[Array, Array]:
        # near infinity (sI - A)^{-1} = -j tau (I + j tau A)^{-1}
        factor = -1j * x if chart == INFINITY else np.ones(x.size)
        value = (self.C @ state) * factor[:, None, None] + self.D
        rounding = self._seen(state, error) * np.abs(factor) + gamma(2) * frobenius(self.D)
        rounding = up(rounding, 16)
        ok = np.isfinite(value).all(axis=(1, 2)) & np.isfinite(rounding)
        return np.where(ok[:, None, None], value, 0.0), np.where(ok, rounding, np.inf)

    def _seen(self, state: Array, error: Array) -> Array:
        """Bound the error of ``C state``, (S,)."""
        size = np.abs(self.C)
        return np.asarray(frobenius(size @ (error + gamma(self.C.shape[1] + 8) * np.abs(state))))

    # ------------------------------------------------------------------------------------------ arcs
    def arc(self, chart: str, centre: Array, h: Array) -> Arc:
        """Return samples and bounds on the arcs ``|t| <= h`` about the centres."""
        diagonal, beside, z = self._matrix(chart, centre)
        right, none = self._sources(centre.size)
        state, error = self._solved(diagonal, beside, right, none)
        value, rounding = self._value(chart, centre, state, error)
        coefficients, noise = [value], [rounding]
        first = -2j * z if chart == CIRCLE else -1j * np.ones(centre.size)
        term, off = self._solved(diagonal, beside, state, error)
        for k in range(1, self.order):
            factor = first * (-1j) ** (k - 1)
            coefficients.append(factor[:, None, None] * (self.C @ term))
            noise.append(up(np.abs(first) * (self._seen(term, off) + 16.0 * UNIT * frobenius(self.C @ term)), 16))
            if k + 1 < self.order:
                term, off = self._next(chart, diagonal, beside, z, term, off)
        crude, tail = self._on_arc(chart, centre, h)
        first_order, second, curvature = derivative_bounds(coefficients, noise, tail, h, crude)
        ok = np.isfinite(rounding)
        first_order, second, curvature = (
            np.where(ok & np.isfinite(item), item, np.inf) * (1 + OPERATIONS_40000)
            for item in (first_order, second, curvature)
        )
        zero = Loss(absolute=np.zeros(centre.size))
        return Arc(value, rounding, zero, first_order, second, curvature, crude * (1 + OPERATIONS_40000), zero)

    def _next(
        self, chart: str, diagonal: Array, beside: Array, z: Array, term: Array, off: Array
    ) -> tuple[Array, Array]:
        """Return ``Q term`` and bounds of its errors, Q as in :mod:`theory.systems.resolvent`."""
        if chart == AXIS:
            return self._solved(diagonal, beside, term, off)
        if chart == INFINITY:
            size = np.abs(self.A)
            return self._solved(
                diagonal, beside, self.A @ term, size @ (off + gamma(self.A.shape[0] + 8) * np.abs(term))
            )
        solved, error = self._solved(diagonal, beside, term, off)
        result = 2.0 * z[:, None, None] * solved - term
        return result, (2.0 * error + off + 16.0 * UNIT * (2.0 * np.abs(solved) + np.abs(term))) * (1 + OPERATIONS_40)

    def _on_arc(self, chart: str, centre: Array, h: Array) -> tuple[Array, Array]:
        """Bounds on each arc of the gain, and of ``|G^(K)| / K!``, from the least distances to the poles."""
        least, furthest = self._least(chart, centre, h)
        side = furthest if chart == INFINITY else np.ones(centre.size)
        through, seen, n = np.abs(self.D), np.abs(self.C), self.A.shape[0]
        size = np.broadcast_to(np.abs(self.B), (centre.size, *self.B.shape))
        size = self._sizes(least, side, size)
        crude = frobenius((seen @ size) * (furthest if chart == INFINITY else 1.0 * side)[:, None, None] + through)
        between = np.abs(self.A) + (np.eye(n) if chart == CIRCLE else 0.0)
        size = self._sizes(least, side, size)
        for _ in range(self.order - 1):
            size = self._sizes(least, side, size if chart == AXIS else between @ size)
        tail = frobenius(seen @ size) * ((2.0 if chart == CIRCLE else 1.0) * (1.0 + gamma(self.order * (n + 8))))
        crude = up(crude * (1.0 + gamma(n + 8)), 16)
        return np.where(np.isnan(crude), np.inf, crude), np.where(np.isnan(tail), np.inf, tail)

    def _least(self, chart: str, centre: Array, h: Array) -> tuple[Array, Array]:
        """Lower bounds of the sizes of M's diagonal on each arc, (S, n), and the largest coordinate, (S,)."""
        pole, x, h = self.poles[None], centre[:, None], h[:, None]
        furthest = (np.abs(x) + h) * (1.0 + OPERATIONS_40)
        if chart == CIRCLE:
            modulus = np.abs(pole)
            apart = np.abs(np.remainder(x - np.angle(pole) + np.pi, 2.0 * np.pi) - np.pi)
            gap = np.clip(apart - 2.0 * np.arctan(h) - 4.0 * ANGLE, 0.0, np.pi)
            least = np.hypot(discrete_margin(pole), 2.0 * np.sqrt(modulus) * np.sin(0.5 * gap))
        elif chart == AXIS:
            apart = np.maximum(np.abs(x - pole.imag) * (1.0 - OPERATIONS_40) - h * (1.0 + OPERATIONS_40), 0.0)
            least = np.hypot(pole.real, apart)
        else:  # |1 + j tau pole| is least over all tau at Im pole / |pole|^2
            size = np.maximum(pole.real**2 + pole.imag**2, SMALLEST)
            tau = np.clip(pole.imag / size, x - h, x + h)
            least = np.hypot(1.0 - tau * pole.imag, tau * pole.real) - 8.0 * UNIT * (1.0 + np.abs(tau * pole.imag))
        return np.maximum(least * (1.0 - OPERATIONS_40), 0.0), furthest[:, 0]

    def accept(self, settled: Array) -> None:
        """Nothing to note: the poles are known."""


class Triangular:
    """Substitution, whose rounding is small entry by entry, and comparison matrices on arcs.

    Applies: a dense system that is triangular in some order of its states, and that eigenvectors and graded
    coordinates left open.
    Cost: ten substitutions an arc.
    """

    name = "substitution"

    def applies(self, system: System, known: Bracket, *, stable: bool) -> bool:
        """Whether substitution solves it."""
        return isinstance(system, StateSpace) and system.n > 0 and triangular_order(system.A) is not None

    def write(self, system: System) -> Response | None:
        """Put the states in the order of substitution, at size one."""
        assert isinstance(system, StateSpace)
        order = triangular_order(system.A)
        assert order is not None
        A, B, C = system.A[np.ix_(order, order)], system.B[order], system.C[:, order]
        balance, scale = scales(B, C, system.D)
        form = Substitution(
            A=A,
            B=B / balance,
            C=C / (scale / balance),
            D=system.D / scale,
            discrete=system.is_discrete,
            real=system.is_real,
        )
        return Response(name=self.name, form=form, scale=scale)
