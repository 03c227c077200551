r"""Remainders on arcs: the bounds of derivatives hold, and are attained where nothing is left to give away.

Truth is the definition: the response as a function of the local coordinate t, z = z_0 (1 + jt)/(1 - jt) and so on,
differentiated by mpmath. For one mode and a polynomial of order two (or a pole that the arc runs at), and for
G(t) = 1 + c t^K, the bounds are equalities: a power of the denominator or a factor less and they are below the truth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import mpmath as mp
import numpy as np
import pytest

from theory.norms.peaks.locate import Located
from theory.norms.proofs.levels import LevelCover
from theory.norms.responses.derivatives import derivative_bounds
from theory.norms.responses.diagonal import diagonal_modes
from theory.norms.responses.resolvent import Resolvent
from theory.systems.system import DiagonalStateSpace, StateSpace

CHARTS = {"circle": 1.0, "axis": None, "infinity": None}


def boundary_point(chart: str, centre: float) -> Callable[[Any], Any]:
    """The point z or s of a local coordinate."""
    if chart == "circle":
        return lambda t: mp.expj(mp.mpf(centre)) * (1 + 1j * t) / (1 - 1j * t)
    if chart == "axis":
        return lambda t: 1j * (mp.mpf(centre) + t)
    return lambda t: 1j / (mp.mpf(centre) + t)


def suprema(G: Callable[[Any], Any], places: np.ndarray) -> list[float]:
    """The largest of ``|G|, |G'|, |G''|`` and ``|(G^* G)''|`` of a scalar function at some places."""
    with mp.workdps(40):
        rows = []
        for t in map(mp.mpf, map(float, places)):
            value, first, second = (G(t), mp.diff(G, t), mp.diff(G, t, 2))
            rows.append(
                [abs(value), abs(first), abs(second), 2 * abs(abs(first) ** 2 + (mp.conj(value) * second).real)]
            )
        return [float(max(column)) for column in zip(*rows, strict=True)]


def places(h: float, closest: float) -> np.ndarray:
    """Where to look on an arc: a few points, both ends, and the point next to the pole."""
    return np.unique(np.clip(np.append(np.linspace(-h, h, 9), closest), -h, h))


def aimed(rng: np.random.Generator, chart: str) -> tuple[complex, float, float, float]:
    """A pole, the centre of an arc, its half width, and the coordinate of the arc that is next to the pole."""
    reach = float(rng.uniform(0.05, 0.6))  # the arc ends at this part of the way to the pole
    side = float(rng.choice([-1.0, 1.0]))
    if chart == "circle":
        margin, centre, away = 10.0 ** rng.uniform(-9, -2), float(rng.uniform(-2, 2)), float(rng.uniform(0.1, 0.5))
        closest = side * np.tan(away / 2)
        return (1 - margin) * np.exp(1j * (centre + side * away)), centre, reach * abs(closest), closest
    margin, centre, away = 10.0 ** rng.uniform(-9, -2), float(rng.uniform(0.5, 1.0)), float(rng.uniform(0.1, 0.4))
    where = centre + side * away
    return -margin + 1j * (where if chart == "axis" else 1.0 / where), centre, reach * away, side * away


@pytest.mark.parametrize("chart", CHARTS)
@pytest.mark.parametrize("order", [2, 3, 8])
def test_bounds_of_a_mode_hold_and_are_attained(chart: str, order: int) -> None:
    rng = np.random.default_rng(order)
    attained = 0
    for _ in range(8):
        pole, centre, h, closest = aimed(rng, chart)
        b, c = rng.normal(size=2) + 1j * rng.normal(size=2)
        system = DiagonalStateSpace([pole], [[b]], [[c]], dt=CHARTS[chart], conjugate_pairs=False)
        arc = replace(diagonal_modes(system), order=order).arc(chart, np.array([centre]), np.array([h]))
        point = boundary_point(chart, centre)
        G = lambda t: mp.mpc(b) * mp.mpc(c) / (point(t) - mp.mpc(pole))  # noqa: B023, E731
        gain, first, second, curvature = suprema(G, places(h, closest))
        assert gain <= arc.crude[0]
        assert first <= arc.first[0]
        assert second <= arc.second[0]
        assert curvature <= arc.curvature[0]
        attained += second >= arc.second[0] * (1 - 1e-6)
    assert attained or order > 2


@pytest.mark.parametrize("chart", CHARTS)
@pytest.mark.parametrize("order", [2, 5])
def test_bounds_of_a_covered_arc_hold_and_are_attained(chart: str, order: int) -> None:
    rng = np.random.default_rng(order)
    attained = 0
    for _ in range(8):
        pole, centre, h, closest = aimed(rng, chart)
        b, c = rng.normal(size=2) + 1j * rng.normal(size=2)
        system = DiagonalStateSpace([pole], [[b]], [[c]], dt=CHARTS[chart], conjugate_pairs=False)
        cover = LevelCover(Located(diagonal_modes(system), 1e-8), order=order)
        half = 2.0 * np.arctan(h) if chart == "circle" else h
        got = cover._bounds(chart, np.array([centre - half]), np.array([centre + half]))
        point = boundary_point(chart, centre)
        G = lambda t: mp.mpc(b) * mp.mpc(c) / (point(t) - mp.mpc(pole))  # noqa: B023, E731
        gain, _, second, _ = suprema(G, places(h, closest))
        assert h <= got[0][0]
        assert gain <= got[1][0]
        assert second <= got[2][0]
        attained += second >= got[2][0] * (1 - 1e-6)
    assert attained or order > 2


@pytest.mark.parametrize("chart", CHARTS)
@pytest.mark.parametrize("order", [2, 8])
def test_bounds_of_a_resolvent_hold_and_are_attained(chart: str, order: int) -> None:
    rng = np.random.default_rng(order)
    attained = 0
    for n in (1, 1, 1, 1, 1, 1, 2, 3):
        pole, centre, h, closest = aimed(rng, chart)
        A = pole * np.eye(n) + 0.1 * abs(closest) * np.triu(rng.normal(size=(n, n)), 1)
        B, C = rng.normal(size=(n, 1)) + 0j, rng.normal(size=(1, n)) + 0j
        system = StateSpace(A, B, C, dt=CHARTS[chart])
        boundary = Resolvent(
            A=A, B=B, C=C, D=system.D, poles=np.full(n, pole), discrete=chart == "circle", real=False, order=order
        )
        arc = boundary.arc(chart, np.array([centre]), np.array([h]))
        point = boundary_point(chart, centre)

        def G(t: Any) -> Any:
            state = mp.lu_solve(point(t) * mp.eye(n) - mp.matrix(A.tolist()), mp.matrix(B.tolist()))  # noqa: B023
            return (mp.matrix(C.tolist()) * state)[0, 0]  # noqa: B023

        gain, first, second, curvature = suprema(G, places(h, closest))
        assert gain <= arc.crude[0]
        assert first <= arc.first[0]
        assert second <= arc.second[0]
        assert curvature <= arc.curvature[0]
        attained += second >= arc.second[0] * (1 - 1e-6)
    assert attained or order > 2


@pytest.mark.parametrize("K", [2, 3, 5, 8])
def test_the_last_power_is_counted_in_full(K: int) -> None:
    """G = 1 + c t^K: its Taylor polynomial of K coefficients is 1, the rest is in the tail, and nothing cancels."""
    c = 1e-12
    for h in (0.2, 1.0):
        half = np.array([h])
        coefficients = [np.full((1, 1, 1), 1.0 if k == 0 else 0.0) for k in range(K)]
        noise = [np.zeros(1) for _ in range(K)]
        first, second, curvature = derivative_bounds(coefficients, noise, np.array([c]), half, np.array([1 + c * h**K]))
        with mp.workdps(40):
            G = lambda t: 1 + mp.mpf(c) * t**K  # noqa: E731
            _, *truth = suprema(G, np.array([h]))
        for bound, true in zip((first, second, curvature), truth, strict=True):
            assert true <= bound[0] <= true * (1 + 1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (2, 3)])
def test_bounds_of_polynomials_hold(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        K = int(rng.integers(2, 7))
        G = [rng.normal(size=shape) + 1j * rng.normal(size=shape) for _ in range(K + 1)]
        h = float(rng.uniform(0.1, 1.0))
        size = [float(np.linalg.norm(g)) for g in G]
        crude = sum(s * h**k for k, s in enumerate(size))
        bounds = derivative_bounds(
            [g[None] for g in G[:K]], [np.zeros(1)] * K, np.array([size[K]]), np.array([h]), np.array([crude])
        )
        for t in np.linspace(-h, h, 21):
            value, first, second = (
                sum(np.prod(np.arange(k, k - d, -1.0)) * G[k] * t ** (k - d) for k in range(d, K + 1)) for d in range(3)
            )
            if shape[0] < shape[1]:  # the same gains, and the smaller of the two squares
                value, first, second = value.conj().T, first.conj().T, second.conj().T
            gram = second.conj().T @ value + 2 * first.conj().T @ first + value.conj().T @ second
            for bound, true in zip(bounds, (first, second, gram), strict=True):
                assert np.linalg.norm(true, 2) <= bound[0]
