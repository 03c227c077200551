r"""Descents over the stored states of a reduced system: the variables, in which every step keeps it stable.

A pole is :math:`\lambda=e^{\nu}` (continuous time: :math:`\lambda=\nu`) with :math:`\nu=-e^{a}+j\theta`, so any real a
is a stable pole. The angle counts in units of the margin at the start, B and C in units of the norms of their rows and
columns: then a unit step means the same for a pole at 0.1 and for one at 1e-5 from the boundary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from theory.systems.system import DiagonalStateSpace

Array = NDArray[Any]

OFF_THE_AXIS = 0.3
"""In margins: how far a real pole of a pair is moved off the axis, where every gradient along the angle is zero."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """Poles (r,), B (r, m) and outputs of both directions stacked (q, r)."""

    poles: Array
    B: Array
    C: Array

    @classmethod
    def of(cls, system: DiagonalStateSpace) -> Point:
        """One system, every state scaled to ``|b| = |c|``; real poles of pairs off the axis."""
        C = system.C if system.C_reverse is None else np.concatenate([system.C, system.C_reverse], axis=0)
        b, c = np.linalg.norm(system.B, axis=1), np.linalg.norm(C, axis=0)
        scale = np.where((b > 0) & (c > 0), np.sqrt(c / np.where(b > 0, b, 1.0)), 1.0)
        scale = np.where(scale > 0, scale, 1.0)
        return cls(poles=system.poles, B=system.B * scale[:, None], C=C / scale)

    def written(self, system: DiagonalStateSpace) -> DiagonalStateSpace:
        """The system of these states with everything else as `system` has it."""
        p = system.p
        return system.replace(
            poles=self.poles, B=self.B, C=self.C[:p], C_reverse=self.C[p:] if system.is_bidirectional else None
        )


# value, and the gradients g with ``df = Re sum conj(dx) g`` along poles, B and C
Objective = Callable[[Point], tuple[float, Array, Array, Array]]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Real coordinates around a point: zero is the point, and one is a natural step."""

    a: Array
    theta: Array
    margin: Array
    b: Array
    c: Array
    discrete: bool
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    origin: Point

    @classmethod
    def around(cls, point: Point, discrete: bool, off_axis: bool) -> Chart:
        """The chart whose zero is `point`, with real poles moved off the axis, where each stands for two, if asked."""
        with np.errstate(divide="ignore"):
            nu = np.log(point.poles) if discrete else point.poles
        nu = np.where(np.isfinite(nu), nu, -50.0)  # a pole at zero
        margin = np.minimum(-nu.real, 1.0) if discrete else -nu.real
        theta = nu.imag + np.where(off_axis & (nu.imag == 0), OFF_THE_AXIS * margin, 0.0)
        b, c = np.linalg.norm(point.B, axis=1), np.linalg.norm(point.C, axis=0)
        usual = max(float(np.sqrt(np.mean(b**2))), np.finfo(float).tiny)
        b, c = np.maximum(b, 1e-3 * usual), np.maximum(c, 1e-3 * usual)
        return cls(
            a=np.log(-nu.real), theta=theta, margin=margin, b=b, c=c, discrete=discrete,
            shapes=(point.B.shape, point.C.shape), origin=point,
        )  # fmt: skip

    def point(self, x: Array) -> Point:
        """The point at coordinates x."""
        r, size = self.a.size, self.shapes[0][0] * self.shapes[0][1]
        a, theta = self.a + x[:r], self.theta + self.margin * x[r : 2 * r]
        nu = -np.exp(a) + 1j * theta
        B, C = x[2 * r : 2 * r + 2 * size], x[2 * r + 2 * size :]
        return Point(
            poles=np.exp(nu) if self.discrete else nu,
            B=self.origin.B + self.b[:, None] * (B[:size] + 1j * B[size:]).reshape(self.shapes[0]),
            C=self.origin.C + self.c * (C[: C.size // 2] + 1j * C[C.size // 2 :]).reshape(self.shapes[1]),
        )

    def gradient(self, x: Array, point: Point, poles: Array, B: Array, C: Array) -> Array:
        """Real gradient from the complex ones."""
        r = self.a.size
        along = point.poles.conj() * poles if self.discrete else poles  # with respect to nu
        B, C = (self.b[:, None] * B).ravel(), (self.c * C).ravel()
        return np.concatenate(
            [-np.exp(self.a + x[:r]) * along.real, self.margin * along.imag, B.real, B.imag, C.real, C.imag]
        )


def descend(
    objective: Objective,
    start: Point,
    *,
    discrete: bool,
    paired: bool,
    steps: int,
    moves: tuple[float, float],
    stay_real: bool = False,
) -> Point:
    """Minimize by L-BFGS-B from `start`; log margins and angles move by at most `moves` (in margins).

    With `stay_real` real poles of pairs stay real, with their rows of B and columns of C: they have one state each.
    """
    real = (start.poles.imag == 0) & (paired and stay_real)
    chart = Chart.around(start, discrete, paired and not stay_real)

    def evaluate(x: Array) -> tuple[float, Array]:
        point = chart.point(x)
        value, *gradients = objective(point)
        return value, chart.gradient(x, point, *gradients)

    r = start.poles.size
    B, C = np.broadcast_to(real[:, None], start.B.shape).ravel(), np.broadcast_to(real, start.C.shape).ravel()
    free = 2 * (start.B.size + start.C.size)
    widths = np.concatenate([np.full(r, moves[0]), np.where(real, 0.0, moves[1])])
    widths = np.concatenate([widths, *(np.where(part, limit, np.inf) for part in (B, C) for limit in (np.inf, 0.0))])
    bounds = scipy.optimize.Bounds(-widths, widths)
    with np.errstate(all="ignore"):
        found = scipy.optimize.minimize(
            evaluate, np.zeros(2 * r + free), jac=True, method="L-BFGS-B", bounds=bounds,
            options={"maxiter": steps, "maxcor": 20, "maxls": 20},
        )  # fmt: skip
    point = chart.point(found.x)
    point = replace(point, poles=np.where(real, point.poles.real, point.poles))  # exp(j pi) is not real to the last bit
    fine = all(np.isfinite(array).all() for array in (point.poles, point.B, point.C))
    return point if fine and np.isfinite(found.fun) else start
