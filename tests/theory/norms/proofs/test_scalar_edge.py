"""Local models of scalar systems at their tightest: poles next to the arc, all terms in phase, tails that count.

A pole next to the circle that the interval runs at makes all terms of its Taylor series point the same way at the end
of the interval: the polynomial and the bound of the rest then add up to nearly the gain itself, and less of either
would be below it. Truth is the definition, in 60 digits.
"""

from __future__ import annotations

import sys
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest

from theory.norms.proofs.scalar_taylor import local_models
from theory.norms.responses.scalars import moved, scalars_of
from theory.systems.system import DiagonalStateSpace

sys.path.insert(0, str(Path(__file__).parents[2]))
from exact import DIGITS, draws
from reference.gains import exact_gain


def aimed(rng: np.random.Generator, *, discrete: bool, reach: float) -> tuple[DiagonalStateSpace, float, float]:
    """A system, a centre and a T that ends at the part `reach` of the way to the pole; perhaps a second pole."""
    side, centre = float(rng.choice([-1.0, 1.0])), float(rng.uniform(-2, 2)) if discrete else float(rng.uniform(0.5, 2))
    away, margin = 10.0 ** rng.uniform(-3, -1), 10.0 ** rng.uniform(-9, -7)
    residue = np.exp(1j * rng.uniform(0, 6))
    poles, residues = np.zeros(2, complex), np.array([residue, 0.0])
    if discrete:
        poles[:] = (1 - margin) * np.exp(1j * (centre + side * away)), 0.0
        T = reach * np.tan(0.5 * away)
    else:
        poles[:] = -margin * away + 1j * (centre + side * away), -1.0
        scale = float(np.exp(np.log(np.abs(poles)).mean()))
        y, x = (centre + side * away) / scale, centre / scale
        T = reach * abs(y - x) / (1 + x * y)
    if rng.random() < 0.5:
        residues[1] = 1e-3 * rng.normal()
    system = DiagonalStateSpace(
        poles, np.ones((2, 1)), residues[None], dt=1.0 if discrete else None, conjugate_pairs=False
    )
    return system, centre, float(T)


@pytest.mark.parametrize("order", [3, 6])
@pytest.mark.parametrize("discrete", [True, False], ids=["discrete", "continuous"])
def test_the_ceiling_is_above_every_gain_and_not_far(discrete: bool, order: int) -> None:
    tightest = np.inf
    for seed in range(draws(20)):
        rng = np.random.default_rng([seed, discrete, order])
        system, centre, T = aimed(rng, discrete=discrete, reach=float(rng.uniform(0.3, 0.74)))
        scalars = scalars_of(system)
        exponent = scalars.exponent
        zero = np.zeros(1, dtype=int)
        model = local_models(scalars, zero, np.array([centre]), np.array([T]), order)
        ceiling = float(np.ldexp(model.ceiling, exponent)[0])
        ends = moved(scalars.scale, zero, np.array([centre]), np.array([-T, 0.5 * T, T]) * (1 - 1e-12))
        with mp.workdps(DIGITS):
            gains = [exact_gain(system, mp.mpf(float(x))) for x in ends]
        assert max(gains) <= ceiling, seed
        tightest = min(tightest, ceiling / float(max(gains)) if not model.near[0] else np.inf)
    assert tightest <= 1 + 1e-3


@pytest.mark.parametrize("discrete", [True, False], ids=["discrete", "continuous"])
def test_a_pole_that_is_too_near_is_bounded_by_its_peak(discrete: bool) -> None:
    near = 0
    for seed in range(draws(20)):
        rng = np.random.default_rng([seed, discrete])
        system, centre, T = aimed(rng, discrete=discrete, reach=float(rng.uniform(0.8, 1.5)))
        scalars, zero = scalars_of(system), np.zeros(1, dtype=int)
        exponent = scalars.exponent
        model = local_models(scalars, zero, np.array([centre]), np.array([T]), 3)
        ceiling = float(np.ldexp(model.ceiling, exponent)[0])
        pole = system.poles[0]
        at = float(np.angle(pole)) if discrete else float(pole.imag)
        low, high = moved(scalars.scale, zero, np.array([centre]), np.array([-T, T]) * (1 - 1e-12))
        with mp.workdps(DIGITS):
            gain = max(exact_gain(system, mp.mpf(float(x))) for x in (low, high, np.clip(at, low, high)))
        assert gain <= ceiling, seed
        near += bool(model.near[0])
    assert near >= draws(10)
