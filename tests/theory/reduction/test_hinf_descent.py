"""H-infinity descents: the gradient is the derivative, and no result is worse than its start, by a sweep of its own."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from contract_cases import diagonal, measured_error, members, response
from strategies import gaussian

from ssmreduce import Mixed, load, reduce, shipped_checkpoint
from theory.errors import InputError
from theory.norms import error_norm
from theory.reduction.balanced_truncation import balanced_truncation
from theory.reduction.descent import Point
from theory.reduction.frame import Factors, Frame, Sampled
from theory.reduction.frequencies import candidates
from theory.reduction.hinf_descent import hinf_descent
from theory.reduction.schatten import Peaks

KINDS = {
    "standard form": {},
    "S5": {"delay": 0, "m": 1},
    "S5 bidirectional": {"delay": 0, "delay_reverse": 0, "two_ways": True},
    "S4D bidirectional": {"delay": 0, "delay_reverse": 1, "two_ways": True, "batch": (2,), "m": 1, "p": 1},
    "complex": {"conjugate_pairs": False, "delay": 0},
    "complex bidirectional": {"conjugate_pairs": False, "delay": 0, "delay_reverse": 0, "two_ways": True},
    "continuous": {"discrete": False},
}
SWEPT = 1e-6
"""What a sweep may miss of a peak, relative."""


def energy(system, reduced):
    """Mean of the squared error over the circle: its aliasing dies with the poles."""
    omega = 2 * np.pi * np.arange(4096) / 4096
    return (np.abs(response(system, omega) - response(reduced, omega)) ** 2).sum(axis=(1, 2)).mean()


@pytest.mark.parametrize("kind", KINDS)
def test_the_error_is_never_worse_and_within_its_bound(kind):
    system = diagonal(2, closest=3e-2, n=4, **KINDS[kind])
    start = balanced_truncation(system, 2).system
    found, bound = hinf_descent(system, start, error_norm)
    for whole, first, last, most in zip(*map(members, (system, start, found)), np.ravel(bound), strict=True):
        after = measured_error(whole, last)
        assert after <= measured_error(whole, first) * (1 + SWEPT)
        assert after <= most <= after * 1.01


@pytest.mark.parametrize("kind", KINDS)
def test_there_is_something_to_gain(kind):
    """Backwards in time, too, where the modes of a complex system peak at the conjugate frequencies."""
    gains = []
    for seed in range(3):
        system = diagonal(seed, closest=1e-2, n=4, **KINDS[kind])
        start = balanced_truncation(system, 2).system
        found, _ = hinf_descent(system, start, error_norm, steps=10)
        for whole, first, last in zip(*map(members, (system, start, found)), strict=True):
            gains.append(measured_error(whole, last) / measured_error(whole, first))
    assert np.median(gains) < 0.97


@pytest.mark.parametrize("kind", ["standard form", "S4D bidirectional"])
def test_a_bad_origin_does_not_matter_to_what_is_promised(kind):
    """From far away one step ends far away: then the start comes back, and not where the descent began."""
    system = diagonal(2, closest=3e-2, n=4, **KINDS[kind])
    start = balanced_truncation(system, 2).system
    far = start.replace(C=-20 * start.C)
    found, bound = hinf_descent(system, start, error_norm, steps=1, origin=far)
    for whole, first, last, most in zip(*map(members, (system, start, found)), np.ravel(bound), strict=True):
        assert measured_error(whole, last) <= min(most, measured_error(whole, first) * (1 + SWEPT))


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("paired", [True, False])
def test_frequencies_leave_no_gap_around_a_pole(discrete, paired):
    """Every eighth of a margin, up to four margins away: a frequency is nearer than the nearest pole."""
    poles = diagonal(5, closest=1e-4, n=6, discrete=discrete).poles
    omega = candidates(poles, discrete, paired)
    assert omega.size < 11 * poles.size + 65
    margin = 1 - np.abs(poles) if discrete else -poles.real
    centre = np.angle(poles) if discrete else poles.imag
    wanted = (centre[:, None] + margin[:, None] * np.arange(-4, 4.1, 0.125)).ravel()
    every = np.concatenate([poles, poles.conj()]) if paired else poles
    if discrete:
        wanted = (wanted + np.pi) % (2 * np.pi) - np.pi
    wanted = np.abs(wanted) if paired else wanted
    zeta = np.exp(1j * wanted) if discrete else 1j * wanted
    reach = np.abs(zeta[:, None] - every).min(axis=1)
    assert (np.abs(wanted[:, None] - omega).min(axis=1) <= reach).all()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("continuous", "S5 bidirectional")])
def test_mixed_is_never_worse_in_either_norm(kind):
    system = diagonal(3, closest=3e-2, n=4, **KINDS[kind])
    start = balanced_truncation(system, 2).system
    found, _ = hinf_descent(system, start, error_norm, energy=0.5)
    for whole, first, last in zip(*map(members, (system, start, found)), strict=True):
        assert measured_error(whole, last) <= measured_error(whole, first) * (1 + SWEPT)
        assert energy(whole, last) <= energy(whole, first) * (1 + 1e-12)


@pytest.mark.parametrize("seed", [1, 7])
def test_mixed_keeps_its_promise_where_its_energy_is_not_the_norm(seed):
    """Both directions see the present sample: the descent leaves what they share there out, the comparison does not."""
    system = diagonal(seed, closest=3e-2, n=4, **KINDS["S5 bidirectional"])
    start = balanced_truncation(system, 2).system
    found, _ = hinf_descent(system, start, error_norm, energy=0.5, steps=20)
    assert measured_error(system, found) <= measured_error(system, start) * (1 + SWEPT)
    assert energy(system, found) <= energy(system, start) * (1 + 1e-12)


@pytest.fixture(scope="module")
def trained():
    """A shipped layer and its balanced truncation to a quarter of the states."""
    system = load(shipped_checkpoint("digits_s5")).layers[0].system
    return system, balanced_truncation(system, system.n // 4)


def test_a_trained_layer_gets_nearer_to_its_floor(trained):
    system, start = trained
    found, _ = hinf_descent(system, start.system, error_norm, steps=10)
    assert measured_error(system, found) < 0.95 * measured_error(system, start.system)
    assert energy(system, found) > energy(system, start.system)  # the price


def test_a_trained_layer_gets_better_in_both(trained):
    system, start = trained
    found, _ = hinf_descent(system, start.system, error_norm, steps=10, energy=0.5)
    assert measured_error(system, found) < measured_error(system, start.system)
    assert energy(system, found) < energy(system, start.system)


@pytest.mark.parametrize("ports", [(2, 3), (12, 12)])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if "S4D" not in kind])
def test_the_gradient_is_the_derivative(kind, ports):
    """In the span of the ports; with many of them the leading singular vectors come from a subspace that is kept."""
    rng = np.random.default_rng(1)
    system = diagonal(3, closest=1e-2, **{**KINDS[kind], "n": 8, "m": ports[0], "p": ports[1]})
    frame = Frame.of(system)
    point = frame.inside(Point.of(balanced_truncation(system, 4).system))
    omega = np.linspace(0.1, 3, 7)
    value = Peaks(frame, frame.inside(Point.of(system)), omega, 20.0)
    for _ in range(30):
        gradients = value(point)[1:]
    for name, gradient in zip(("poles", "B", "C"), gradients, strict=True):
        along = gaussian(rng, *gradient.shape)
        step = 1e-5 * (1e-2 if name == "poles" else 1.0)
        ahead, behind = (
            value(dataclasses.replace(point, **{name: getattr(point, name) + sign * step * along}))[0]
            for sign in (1, -1)
        )
        wanted = float((along.conj() * gradient).sum().real)
        assert abs((ahead - behind) / (2 * step) - wanted) <= 1e-4 * np.abs(gradient).max() * along.size**0.5


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "S4D" not in kind])
def test_frames_lose_nothing(kind):
    system = diagonal(4, **KINDS[kind])
    frame, omega = Frame.of(system), np.linspace(-3, 3, 5)
    inside = frame.response(frame.inside(Point.of(system)), omega)
    back = frame.columns @ inside @ frame.rows
    assert np.abs(back + system.D - response(system, omega)).max() <= 1e-10 * np.abs(back).max()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "S4D" not in kind])
def test_factors_multiply_as_the_response_does(kind):
    rng = np.random.default_rng(2)
    system = diagonal(5, **KINDS[kind])
    frame, omega = Frame.of(system), np.linspace(-3, 3, 5)
    point = frame.inside(Point.of(system))
    value = frame.response(point, omega)
    V, Y = gaussian(rng, value.shape[2], 2, 5), gaussian(rng, value.shape[1], 2, 5)
    for found in (Factors(frame, point, omega), Sampled(value)):
        ahead, back = np.einsum("wpm,mqw->pqw", value, V), np.einsum("wpm,pqw->mqw", value.conj(), Y)
        assert np.abs(found.times(V) - ahead).max() <= 1e-12 * np.abs(ahead).max()
        assert np.abs(found.adjoint_times(Y) - back).max() <= 1e-12 * np.abs(back).max()


def test_weights_are_weights():
    for weight in (0.0, 1.0, -1.0):
        with pytest.raises(InputError):
            Mixed(energy=weight)
    assert reduce(diagonal(1), 3, method="mixed(energy=0.25,steps=3)").order == 3


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "S4D" not in kind and kind != "S5"])
def test_with_many_ports_the_largest_gains_are_exact_and_no_estimate_is_above_its_own(kind):
    system = diagonal(6, **KINDS[kind] | {"n": 4, "m": 12, "p": 9})
    start = balanced_truncation(system, 2).system
    frame, omega = Frame.of(system), np.linspace(-3, 3, 301)
    peaks = Peaks(frame, frame.inside(Point.of(system)), omega)
    assert isinstance(peaks.whole, Factors)
    found = peaks.gains(frame.inside(Point.of(start)))
    error = response(system, omega) - response(start, omega) - (system.D - start.D)
    gains = np.linalg.norm(error, 2, axis=(1, 2))
    assert (found <= gains * (1 + 1e-10)).all()
    top = np.argsort(gains)[-50:]
    assert np.abs(found[top] / gains[top] - 1).max() <= 1e-10
