"""The H2 descent: its gradient is the derivative, and it is never worse than its start; energies by plain sums."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from contract_cases import diagonal, members, response
from strategies import gaussian

from ssmreduce import H2, load, reduce, shipped_checkpoint
from theory.errors import InputError
from theory.reduction.balanced_truncation import balanced_truncation
from theory.reduction.descent import Chart, Point
from theory.reduction.h2_descent import Energy, h2_descent

KINDS = {
    "standard form": {},
    "S5": {"delay": 0},
    "S5 bidirectional": {"delay": 0, "delay_reverse": 0, "two_ways": True},
    "S4D": {"delay": 0, "batch": (3,), "m": 1, "p": 1},
    "complex": {"conjugate_pairs": False},
    "real poles": {"kind": "real"},
}


def energy(system, reduced):
    """Mean of the squared error over the circle: its aliasing dies with the poles."""
    omega = 2 * np.pi * np.arange(4096) / 4096
    pairs = zip(members(system), members(reduced), strict=True)
    return np.array([(np.abs(response(a, omega) - response(b, omega)) ** 2).sum(axis=(1, 2)).mean() for a, b in pairs])


@pytest.mark.parametrize("kind", KINDS)
def test_never_worse_than_its_start(kind):
    improved = []
    for seed in range(3):
        system = diagonal(seed, closest=3e-2, **KINDS[kind])
        for order in (1, 3, 5):
            start = balanced_truncation(system, order).system
            found = h2_descent(system, start)
            before, after = energy(system, start), energy(system, found)
            assert np.all(after <= before * (1 + 1e-12))
            improved.append(after.sum() / before.sum())
    assert np.median(improved) < 0.999


def test_continuous_time_too():
    """Sampled finely, the energy of the error is what the method says of it."""
    system = diagonal(5, closest=1e-1, discrete=False)
    start = balanced_truncation(system, 3).system
    found = h2_descent(system, start)
    omega = np.linspace(-2000, 2000, 100001)
    before, after = (
        (np.abs(response(system, omega) - response(one, omega)) ** 2).sum(axis=(1, 2)).sum() for one in (start, found)
    )
    assert after < before


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_the_value_is_the_energy_of_the_error(kind, paired):
    """Of both directions together: what they get wrong in the present sample adds up, or cancels."""
    options = {"conjugate_pairs": paired} | KINDS[kind]
    for seed in range(3):
        system = diagonal(seed, closest=3e-2, **options)
        start = balanced_truncation(system, 3).system
        for one, other in zip(members(system), members(start), strict=True):
            value = Energy(one)
            wanted = energy(one, other)[0]
            assert abs(np.exp(value(Point.of(other))[0]) * value.whole - wanted) <= 1e-9 * wanted


@pytest.mark.parametrize("ways", [{}, {"delay": 0, "delay_reverse": 0, "two_ways": True}])
@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("paired", [True, False])
def test_the_gradient_is_the_derivative(discrete, paired, ways):
    if ways and not discrete:
        pytest.skip("continuous time has no sample that two directions share")
    rng = np.random.default_rng(1)
    system = diagonal(3, n=5, discrete=discrete, conjugate_pairs=paired, closest=1e-2, **ways)
    value = Energy(system)
    point = Point.of(balanced_truncation(system, 3).system)
    gradients = dict(zip(("poles", "B", "C"), value(point)[1:], strict=True))
    for name, gradient in gradients.items():
        along = gaussian(rng, *gradient.shape)
        step = 1e-5 * (1e-2 if name == "poles" else 1.0)
        ahead, behind = (
            value(dataclasses.replace(point, **{name: getattr(point, name) + sign * step * along}))[0]
            for sign in (1, -1)
        )
        wanted = float((along.conj() * gradient).sum().real)
        assert abs((ahead - behind) / (2 * step) - wanted) <= 1e-5 * np.abs(gradient).max()


@pytest.mark.parametrize("discrete", [True, False])
def test_the_chart_and_its_gradient(discrete):
    """Zero is the point; every point is stable; the gradient is that of the composition."""
    rng = np.random.default_rng(2)
    system = diagonal(4, n=3, discrete=discrete)
    point = Point.of(system)
    chart = Chart.around(point, discrete, True)
    zero = chart.point(np.zeros(2 * 3 + 2 * (point.B.size + point.C.size)))
    assert np.abs(zero.poles - point.poles).max() <= 1e-12 * np.abs(point.poles).max()
    x = rng.standard_normal(2 * 3 + 2 * (point.B.size + point.C.size))
    moved = chart.point(3 * x)
    assert np.all(np.abs(moved.poles) < 1 if discrete else moved.poles.real < 0)
    weights = {name: gaussian(rng, *getattr(point, name).shape) for name in ("poles", "B", "C")}

    def linear(at):
        there = chart.point(at)
        return sum(float((getattr(there, name).conj() * w).sum().real) for name, w in weights.items())

    along = rng.standard_normal(x.size)
    wanted = (linear(x + 1e-6 * along) - linear(x - 1e-6 * along)) / 2e-6
    got = chart.gradient(x, chart.point(x), *weights.values()) @ along
    assert abs(got - wanted) <= 1e-6 * np.abs(along).sum()


def test_the_method_says_what_it_needs():
    with pytest.raises(InputError):
        H2(steps=0)
    system = diagonal(1)
    few, many = (energy(system, reduce(system, 3, method=H2(steps=k)).system) for k in (1, 200))
    assert many < few


@pytest.mark.parametrize("kind", KINDS)
def test_the_method_is_not_worse_than_balanced_truncation_nor_than_the_strongest_modes(kind):
    system = diagonal(7, closest=3e-2, n=6, **KINDS[kind])
    least = {name: energy(system, reduce(system, 3, method=name).system) for name in ("h2", "balanced", "aire")}
    assert np.all(least["h2"] <= np.minimum(least["balanced"], least["aire"]) * (1 + 1e-9))


def test_the_strongest_modes_of_a_trained_layer_are_the_better_start():
    """Of the shipped digits model; what decides the method is the better of the two descents."""
    system = load(shipped_checkpoint("digits_s5")).layers[0].system
    start = balanced_truncation(system, 8).system
    alone = energy(system, h2_descent(system, start))
    assert np.all(energy(system, reduce(system, 8, method="h2").system) < alone)
