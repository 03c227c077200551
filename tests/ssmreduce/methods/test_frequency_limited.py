"""frequency_limited: stable by proof from one side, better inside the band, dual in its sides; what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from strategies import gaussian, stable_poles
from tolerance import tol

from ssmreduce import METHODS, FrequencyLimited, load, reduce, shipped_checkpoint
from theory.errors import InputError, StabilityError
from theory.norms import error_norm
from theory.systems.response import frequency_response
from theory.systems.system import DiagonalStateSpace

BANDS = ((0.0, 0.3), (0.3, 1.0), (1.5, np.pi))


def drawn(seed, n=6, discrete=True, **options):
    rng = np.random.default_rng(seed)
    kind = ("spread", "near circle", "clustered", "real", "fast")[seed % 5]
    poles = stable_poles(rng, kind, (n,), 1e-6, discrete)
    return DiagonalStateSpace(poles, gaussian(rng, n, 2), gaussian(rng, 3, n), dt=1.0 if discrete else None, **options)


def lost(system, reduced, omega):
    return np.linalg.norm(frequency_response(system, omega) - frequency_response(reduced, omega), axis=(-2, -1))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("sides", ["input", "output"])
def test_one_side_is_stable_for_every_band_and_order(seed, sides):
    item = drawn(seed, discrete=seed % 3 > 0)
    low, high = np.sort(np.random.default_rng(seed).uniform(0, np.pi, 2))
    for order in range(1, item.n):
        for band in ((low, high), (low, low + 1e-6)):
            found = reduce(item, order, method=FrequencyLimited(band=band, sides=sides))
            assert (found.system.margin > 0).all()


def test_both_sides_are_stable_or_refused():
    method, refusals = FrequencyLimited(band=(0.5, 0.6), sides="both"), []
    for seed in range(40):
        item = drawn(seed)
        for order in (1, 2, 4):
            try:
                found = reduce(item, order, method=method)
            except StabilityError as error:
                refusals.append(error)
                assert (reduce(item, order, method=FrequencyLimited(band=method.band)).system.margin > 0).all()
                continue
            assert (found.system.margin > 0).all()
            assert error_norm(item, found.system, rtol=1e-3).lower <= found.bound
    assert 0 < len(refusals) < 60
    for refusal in refusals:
        assert "one side only" in str(refusal)
        assert (np.abs(refusal.poles) >= 1 - tol(6)).all()
        assert refusal.poles.size


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("sides", [("input", "output"), ("both", "both")])
def test_the_sides_are_those_of_the_transposed_system(seed, sides):
    item = drawn(seed, n=5)
    turned = item.replace(B=np.swapaxes(item.C, 0, 1), C=np.swapaxes(item.B, 0, 1), D=item.D.T)
    one, other = (
        reduce(system, 2, method=FrequencyLimited(band=(0.2, 2.0), sides=side)).system
        for system, side in zip((item, turned), sides, strict=True)
    )
    omega = np.linspace(-3, 3, 41)
    found, wanted = (frequency_response(system, omega) for system in (one, other))
    # the directions of the pair move with the root of its regularization
    assert np.abs(found - np.swapaxes(wanted, -1, -2)).max() <= 1e-6 * np.abs(wanted).max()


@pytest.mark.parametrize("band", BANDS)
@pytest.mark.parametrize("sides", ["input", "output"])
def test_inside_the_band_a_shipped_layer_loses_less_than_by_balanced_truncation(band, sides):
    layer = load(shipped_checkpoint()).layers[0]
    omega = np.linspace(*band, 120)
    order = layer.order // 2
    plain, chosen = (
        reduce(layer, order, method=method).system for method in ("balanced", FrequencyLimited(band=band, sides=sides))
    )
    before, after = (lost(layer.system, system, omega) for system in (plain, chosen))
    assert after.max() < 0.5 * before.max()
    assert np.mean(after**2) < 0.2 * np.mean(before**2)


def test_its_name_reads_back():
    value = FrequencyLimited(band=[0, 0.5], sides="both")
    assert value.name == "frequency_limited(band=(0, 0.5), sides='both')"
    assert METHODS.find(value.name) == value
    wide = FrequencyLimited(band=(0.1, np.inf))
    assert METHODS.find(wide.name) == wide
    assert reduce(drawn(0, discrete=False), 3, method=wide).method == wide.name


def test_what_is_no_band_is_refused_where_it_is_written_and_where_it_is_used():
    for band in ((1.0, 0.5), (-1.0, 2.0), (0.1, np.nan), (0.2,), 0.3, "low"):
        with pytest.raises(InputError, match="band"):
            FrequencyLimited(band=band)
    with pytest.raises(InputError, match="must be one of"):
        FrequencyLimited(band=(0.1, 0.2), sides="left")
    with pytest.raises(InputError, match="end at pi"):
        reduce(drawn(0), 3, method="frequency_limited(band=(0.1, 5))")
