"""Norms over a band: both ends against a sweep of the definition, and against the norm over all frequencies."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from contract_cases import diagonal, members, response, rounding, turned
from hypothesis import given, settings
from hypothesis import strategies as st

from ssmreduce import FrequencyLimited, StateSpace, reduce
from theory.errors import InputError, StabilityError, ToleranceError
from theory.norms import hinf_norm
from theory.norms.band import band_norm
from theory.norms.responses.diagonal import Modes
from theory.systems.boundary import AXIS, CIRCLE, INFINITY, within

KINDS = {
    "few": {},
    "many": {"n": 12, "m": 12, "p": 12},
    "S5": {"delay": 0},
    "S5 bidirectional": {"delay": 0, "delay_reverse": 0, "two_ways": True},
    "S5 bidirectional, many": {"delay": 0, "delay_reverse": 0, "two_ways": True, "n": 12, "m": 12, "p": 12},
    "S4D": {"batch": (2,), "m": 1, "p": 1, "delay": 0},
    "complex": {"conjugate_pairs": False},
    "complex, many": {"conjugate_pairs": False, "n": 12, "m": 12, "p": 12},
    "continuous": {"discrete": False},
    "continuous, many": {"discrete": False, "n": 12, "m": 12, "p": 12},
    "near the circle": {"kind": "near circle", "closest": 1e-7},
}
BANDS = ((0.0, 0.4), (0.3, 0.9), (1.0, np.pi), (2.9, 3.1))
SWEPT = 1e-6
"""What a sweep may miss of a peak, relative."""


def swept(system, band):
    """The largest gain inside: both ends, the pole frequencies and points about them, zoomed in on the largest."""
    low, high = band
    poles = system.poles.ravel()
    centre = np.abs(np.angle(poles) if system.is_discrete else poles.imag)
    width = np.maximum(1 - np.abs(poles) if system.is_discrete else -poles.real, 1e-12)
    offsets = np.concatenate([[0.0], *([s * 2.0**k] for k in range(-2, 4) for s in (-1, 1))])
    ends = np.linspace(low, high if np.isfinite(high) else low + 50 * (1 + np.abs(poles).max()), 400)
    omega = np.concatenate([(centre[:, None] + width[:, None] * offsets).ravel(), ends])
    omega = np.unique(omega[(omega >= low) & (omega <= high)])
    if not system.is_real:
        omega = np.unique(np.concatenate([-omega, omega]))

    def gain(grid):
        return np.linalg.norm(response(system, grid), 2, axis=(1, 2))

    values = gain(omega)
    best = values.max()
    for peak in np.argsort(values)[-4:]:
        left, right = omega[max(peak - 1, 0)], omega[min(peak + 1, omega.size - 1)]
        for _ in range(5):
            fine = np.linspace(left, right, 17)
            fine = fine[(np.abs(fine) >= low) & (np.abs(fine) <= high)]
            found = gain(fine)
            best, top = max(best, found.max()), int(found.argmax())
            left, right = fine[max(top - 1, 0)], fine[min(top + 1, fine.size - 1)]
    return best


def check(system, band, rtol=1e-3):
    found = band_norm(system, band, rtol)
    parts = zip(members(system), *map(np.ravel, (found.lower, found.upper, found.frequency)), strict=True)
    for one, lower, upper, frequency in parts:
        noise = rounding(one)
        assert band[0] <= abs(frequency) <= band[1]
        at = np.linalg.norm(response(one, np.array([frequency]))[0], 2)
        assert lower <= at * (1 + 1e-9) + noise, "the lower end is not attained where it is said to be"
        truth = swept(one, band)
        assert truth <= upper * (1 + SWEPT) + noise, "the upper end is below what a sweep attains"
        assert lower < upper, "rounding leaves something between what is attained and what is proved"
    return found


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=6)
@given(seed=st.integers(0, 1000), low=st.floats(0, 3), width=st.floats(1e-3, 1.5))
def test_both_ends_hold_against_a_sweep(kind, seed, low, width):
    system = diagonal(seed, **{"closest": 1e-2} | KINDS[kind])
    found = check(system, (low, min(low + width, np.pi)))
    assert found.status == "closed"


@pytest.mark.parametrize("kind", KINDS)
def test_bands_together_are_all_frequencies(kind):
    system = diagonal(2, **{"closest": 1e-2} | KINDS[kind])
    whole, end = hinf_norm(system, 1e-6), np.pi if system.is_discrete else np.inf
    edges = (0.0, 0.5, 1.3, 2.0, end)
    parts = [band_norm(system, pair, 1e-6) for pair in pairwise(edges)]
    upper, lower = (np.max([getattr(part, end) for part in parts], axis=0) for end in ("upper", "lower"))
    assert np.all(lower <= np.asarray(whole.upper))
    assert np.all(np.asarray(whole.lower) <= upper)
    assert np.all(upper <= np.asarray(whole.lower) * (1 + 1e-5))


@pytest.mark.parametrize("options", [{}, {"conjugate_pairs": False}, {"discrete": False}])
def test_dense_systems(options):
    system = turned(diagonal(4, closest=1e-2, n=4, **options), 4)
    for band in BANDS:
        assert check(system, band).status == "closed"
    static = StateSpace(np.zeros((0, 0)), np.zeros((0, 1)), np.zeros((1, 0)), [[3.0]], dt=1.0)
    assert band_norm(static, (0.1, 0.2)).lower == pytest.approx(3.0)
    assert 0.1 <= band_norm(static, (0.1, 0.2)).frequency <= 0.2


def test_continuous_bands_reach_infinity():
    system = StateSpace(-1.0, 1.0, 1.0, 0.25, dt=None)  # 0.25 + 1 / (s + 1): 1.25 at rest, 0.25 far out
    for band, at in (((0, np.inf), 0.0), ((2.0, np.inf), 2.0), ((100, 1e6), 100.0)):
        found = band_norm(system, band, 1e-9)
        wanted = abs(0.25 + 1 / (1j * at + 1))
        assert found.lower <= wanted * (1 + 1e-12)
        assert wanted <= found.upper * (1 + 1e-12)
        assert found.upper <= wanted * (1 + 1e-8)
        assert found.frequency == pytest.approx(at, abs=1e-6)


def test_a_band_of_the_least_width_there_is():
    for kind in ("few", "complex", "continuous", "continuous, many"):
        system = diagonal(3, **{"closest": 1e-2} | KINDS[kind])
        for low in (0.0, 1.0):
            check(system, (low, float(np.nextafter(low, np.inf))))


def test_a_peak_next_to_the_band_does_not_count():
    """The climb from inside runs out of the band: what it finds there is not attained inside."""
    for kind in ("few", "many"):
        system = diagonal(7, **{"closest": 1e-2} | KINDS[kind])
        peak = hinf_norm(system, 1e-6)
        band = (min(peak.frequency + 0.05, 3.0), np.pi)
        found = check(system, band)
        assert found.upper < 0.9 * peak.lower


def test_arcs_of_a_band():
    whole = [(AXIS, -4.0, 4.0), (INFINITY, -0.25, 0.25)]
    (axis, far) = within(whole, 1.0, 8.0)
    assert axis == (AXIS, 1.0, 4.0)
    assert far[0] == INFINITY
    assert 0.1249 < far[1] <= 0.125 < far[2] == 0.25
    assert within(whole, -8.0, -5.0)[0][1:] == pytest.approx((-0.2, -0.125))
    assert within(whole, 5.0, np.inf)[0][1] == 0.0
    assert within([(CIRCLE, 0.0, np.pi)], 0.5, 1.0) == [(CIRCLE, 0.5, 1.0)]


def test_a_reduction_tells_its_error_in_the_band():
    system = diagonal(5, closest=1e-2, n=8)
    band = (0.3, 0.9)
    limited, plain = (reduce(system, 4, method=method) for method in (FrequencyLimited(band=band), "balanced"))
    for found in (limited, plain):
        inside, everywhere = found.error_in(band), found.error()
        assert inside.lower <= everywhere.upper
        omega = np.linspace(*band, 2000)
        gap = np.linalg.norm(response(system, omega) - response(found.system, omega), 2, axis=(1, 2)).max()
        assert inside.lower * (1 - 1e-3) <= gap * 1.01
        assert gap <= inside.upper * (1 + 1e-9)
    assert limited.error_in(band).upper < plain.error_in(band).lower


def test_what_is_no_band_is_refused():
    system = diagonal(1)
    for band in ((0.5, 0.5), (1.0, 0.5), (-0.1, 1.0), (0.0, 4.0), (0.0, np.nan), (1.0,), 3.0):
        with pytest.raises(InputError, match="band"):
            band_norm(system, band)
    with pytest.raises(InputError, match="rtol"):
        band_norm(system, (0.1, 0.2), 0.0)
    with pytest.raises(ToleranceError):
        band_norm(system, (0.1, 0.2), 1e-17)
    with pytest.raises(StabilityError):
        band_norm(system.replace(poles=1.2 * np.exp(1j * np.angle(system.poles))), (0.1, 0.2))
    assert Modes().write(system).form.band is None
