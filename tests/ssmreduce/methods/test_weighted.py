"""weighted: stable by proof with one weight, a smaller weighted error, dual in its sides; what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from strategies import gaussian, stable_poles

from ssmreduce import METHODS, FrequencyLimited, Weighted, compare, load, reduce, shipped_checkpoint
from theory.errors import DimensionError, InputError, StabilityError, TimeBaseError
from theory.norms import error_norm
from theory.systems.response import frequency_response
from theory.systems.system import DiagonalStateSpace, StateSpace

LOW_PASS = StateSpace(0.95, 1, 0.05, 0, dt=1.0)


def drawn(seed, n=6, discrete=True, **options):
    rng = np.random.default_rng(seed)
    kind = ("spread", "near circle", "clustered", "real", "fast")[seed % 5]
    poles = stable_poles(rng, kind, (n,), 1e-6, discrete)
    return DiagonalStateSpace(poles, gaussian(rng, n, 2), gaussian(rng, 3, n), dt=1.0 if discrete else None, **options)


def narrow(seed, channels, discrete=True):
    """A resonance next to the boundary: a weight that is nothing like white."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0.2, 2.5)
    A = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * 0.999
    if not discrete:
        A = np.array([[-1e-3, angle], [-angle, -1e-3]])
    draw = rng.standard_normal
    return StateSpace(
        A, draw((2, channels)), draw((channels, 2)), np.zeros((channels, channels)), dt=1.0 if discrete else None
    )


@pytest.mark.parametrize("seed", range(15))
@pytest.mark.parametrize("side", ["input", "output"])
def test_one_weight_is_stable_for_every_order(seed, side):
    discrete = seed % 3 > 0
    item = drawn(seed, discrete=discrete)
    weight = narrow(seed, item.m if side == "input" else item.p, discrete)
    for order in range(1, item.n):
        assert (reduce(item, order, method=Weighted(**{side: weight})).system.margin > 0).all()


def test_two_weights_are_stable_or_refused():
    refusals, kept = [], 0
    for seed in range(30):
        item = drawn(seed)
        W, V = narrow(seed, item.m), narrow(seed + 1, item.p)
        for order in (1, 2, 4):
            try:
                found = reduce(item, order, method=Weighted(input=W, output=V))
            except StabilityError as error:
                refusals.append(error)
                continue
            kept += 1
            assert (found.system.margin > 0).all()
            assert error_norm(item, found.system, rtol=1e-3).lower <= found.bound
    assert refusals
    assert kept > len(refusals)
    for refusal in refusals:
        assert "one side only" in str(refusal)


@pytest.mark.parametrize("seed", range(6))
def test_the_sides_are_those_of_the_transposed_system(seed):
    item, weight = drawn(seed, n=5), narrow(seed, 2)
    turned = item.replace(B=item.C.T, C=item.B.T, D=item.D.T)
    other = StateSpace(weight.A.T, weight.C.T, weight.B.T, weight.D.T, dt=1.0)
    one = reduce(item, 2, method=Weighted(input=weight)).system
    two = reduce(turned, 2, method=Weighted(output=other)).system
    omega = np.linspace(-3, 3, 41)
    found, wanted = frequency_response(one, omega), np.swapaxes(frequency_response(two, omega), -1, -2)
    # the directions of the pair move with the root of its regularization
    assert np.abs(found - wanted).max() <= 1e-6 * np.abs(wanted).max()


@pytest.mark.parametrize("side", ["input", "output"])
def test_a_density_of_one_in_a_band_is_the_band(side):
    item = drawn(3)
    one = reduce(item, 3, method=Weighted(**{side: ((0.2, 0.9), (1.0,))}))
    other = reduce(item, 3, method=FrequencyLimited(band=(0.2, 0.9), sides=side))
    assert np.array_equal(one.system.poles, other.system.poles)
    assert np.array_equal(one.system.C, other.system.C)


@pytest.mark.parametrize("layer", range(2))
@pytest.mark.parametrize("side", ["input", "output"])
def test_a_shipped_layer_loses_less_behind_the_weight_than_by_balanced_truncation(layer, side):
    whole = load(shipped_checkpoint()).layers[layer]
    omega = np.linspace(0, np.pi, 400)
    gain = np.abs(frequency_response(LOW_PASS, omega)[:, 0, 0]) ** 2
    lost = []
    for method in ("balanced", Weighted(**{side: LOW_PASS})):
        gap = frequency_response(whole.system, omega) - frequency_response(
            reduce(whole, 32, method=method).system, omega
        )
        lost.append(np.sum(gain * np.linalg.norm(gap, axis=(1, 2)) ** 2))
    assert lost[1] < 0.5 * lost[0]


def test_names_read_back_where_they_can_and_tell_weights_apart_where_they_cannot():
    value = Weighted(input=[[0, 0.5, 3], np.array([2.0, 0.25])])
    assert value.name == "weighted(input=((0, 0.5, 3), (2, 0.25)))"
    assert METHODS.find(value.name) == value
    names = {Weighted(output=one).name for one in (LOW_PASS, StateSpace(0.9, 1, 0.1, 0, dt=1.0))}
    assert len(names) == 2
    assert all(name.startswith("weighted(output=StateSpace#") for name in names)


def test_compare_shows_it_beside_the_others():
    found = compare(
        drawn(0), ["balanced", Weighted(input=LOW_PASS), "weighted(output=((0, 1), (1,)))"], [3], crosscheck="none"
    )
    assert [row.family for row in found.rows] == ["balancing"] * 3
    assert not found.violations


def test_what_is_no_weight_is_refused_where_it_is_written_and_where_it_is_used():
    for wrong in (3.0, "low", ((0, 1), (1, 2)), ((1, 0), (1,)), ((0, 1), (-1,))):
        for side in ("input", "output"):
            with pytest.raises(InputError, match=r"weight|spectral density|band"):
                Weighted(**{side: wrong})
    with pytest.raises(StabilityError):
        Weighted(input=StateSpace(1.5, 1, 1, 0, dt=1.0))
    with pytest.raises(DimensionError, match="2 outputs"):
        reduce(drawn(0), 2, method=Weighted(input=narrow(0, 3)))
    with pytest.raises(TimeBaseError):
        reduce(drawn(0, discrete=False), 2, method=Weighted(input=LOW_PASS))
    with pytest.raises(InputError, match="end at pi"):
        reduce(drawn(0), 2, method=Weighted(input=((0, 10), (1,))))
