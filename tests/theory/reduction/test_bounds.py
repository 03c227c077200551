"""Bounds: sound against a sweep, tight where theory says so, and the cases that break the unsound ones."""

import numpy as np
import pytest
from hypothesis import given
from strategies import diagonal_systems
from tolerance import tol

from theory.errors import AccuracyError, InputError, OrderError, StabilityError
from theory.reduction.bounds import balanced_bound, hankel_floor, hsv_allowance, modal_bound, require_consistent
from theory.systems.response import frequency_response
from theory.systems.system import DiagonalStateSpace


def test_balanced_bound_is_twice_the_tail():
    hsv = [8.0, 4.0, 2.0, 1.0]
    for order, wanted in enumerate([30.0, 14.0, 6.0, 2.0, 0.0, 0.0]):
        bound = balanced_bound(hsv, order)
        assert bound == pytest.approx(wanted, rel=tol(4), abs=0)
        assert bound >= wanted
    assert balanced_bound(hsv, 2, directions=2) == 2 * balanced_bound(hsv, 2)


def test_equal_values_count_once_and_nearly_equal_ones_only_on_demand():
    assert balanced_bound([5.0, 1.0, 1.0, 1.0], 1) == pytest.approx(2.0)
    near = [5.0, 1.0, 1.0 - 1e-12, 1.0 - 2e-12]
    assert balanced_bound(near, 1) == pytest.approx(6.0)
    assert balanced_bound(near, 1, multiplicity_rtol=1e-11) == pytest.approx(2.0)
    assert balanced_bound(near, 1, multiplicity_rtol=1e-11) >= 2.0


def test_floor_is_the_first_truncated_value():
    hsv = [8.0, 4.0, 2.0]
    assert [hankel_floor(hsv, k) for k in range(5)] == pytest.approx([8.0, 4.0, 2.0, 0.0, 0.0])
    assert hankel_floor(hsv, 1) <= 4.0
    assert hankel_floor([1.0, 1e-20], 1) == 0.0


def test_batches():
    hsv = np.array([[3.0, 1.0], [2.0, 2.0]])
    assert balanced_bound(hsv, 0) == pytest.approx([8.0, 4.0])
    assert hankel_floor(hsv, 1) == pytest.approx([1.0, 2.0])
    assert hsv_allowance(hsv).shape == (2,)
    assert hsv_allowance(np.zeros((3, 0))).tolist() == [0, 0, 0]
    assert balanced_bound(np.zeros(0), 0) == 0.0


@pytest.mark.parametrize("hsv", [[1.0, 2.0], [1.0, -1.0], [np.nan], [np.inf], 3.0])
def test_bad_values(hsv):
    for function in (balanced_bound, hankel_floor):
        with pytest.raises(InputError):
            function(hsv, 0)


def test_bad_orders_and_directions():
    for function in (balanced_bound, hankel_floor):
        with pytest.raises(OrderError):
            function([1.0], -1)
    with pytest.raises(InputError):
        balanced_bound([1.0], 0, directions=3)


@given(diagonal_systems(bidirectional=None, delay=None, closest=1e-6))
def test_modal_bound_is_sound(system):
    gone = np.arange(0, system.n, 2)
    part = system.keep(gone).replace(D=None)
    angles = np.angle(part.poles) if part.is_discrete else part.poles.imag
    omega = np.concatenate([angles, -angles, np.linspace(-np.pi, np.pi, 65)])
    gain = np.linalg.norm(frequency_response(part, omega), 2, axis=(1, 2)).max()
    assert gain <= modal_bound(system, gone) * (1 + tol(system.n))
    mask = np.zeros(system.n, dtype=bool)
    mask[gone] = True
    assert modal_bound(system, mask) == modal_bound(system, gone)
    assert modal_bound(system, []) == 0.0


def test_identical_modes_attain_the_sum_and_break_the_sum_of_squares():
    """N equal modes gain N times one: a bound by the root of the sum of squares (LAST, eq. 3) would be exceeded."""
    N = 16
    equal = DiagonalStateSpace(np.full(N, 0.9), np.ones((N, 1)), np.ones((1, N)), conjugate_pairs=False)
    gain = abs(frequency_response(equal, 0.0)[0, 0, 0])
    assert gain == pytest.approx(10.0 * N)
    assert modal_bound(equal, range(N)) == pytest.approx(gain)
    assert gain > np.sqrt(N * 10.0**2)


def test_a_pair_gains_up_to_twice_its_half():
    """The factor 2 is attained by a real pole, and |c||b|/(1-|pole|) is exceeded."""
    real = DiagonalStateSpace([0.9], [[1.0]], [[1.0]])
    assert abs(frequency_response(real, 0.0)[0, 0, 0]) == pytest.approx(modal_bound(real, [0]))


def test_two_directions_attain_the_factor_2():
    """With right singular vectors v and conj(v) the two directions add without loss: sqrt 2 would not be enough."""
    v = np.array([1.0, 1j]) / np.sqrt(2)
    both = DiagonalStateSpace([0.9, 0.9], np.diag(v), np.array([[1.0, 1.0]]), conjugate_pairs=False)
    both = both.replace(B=np.array([v, v.conj()]), C=[[1.0, 0.0]], C_reverse=[[0.0, 1.0]])
    stacked = both.replace(C=np.vstack([both.C, both.C_reverse]), C_reverse=None, D=None)
    wide = np.linalg.norm(frequency_response(both, 0.0)[0], 2)
    assert wide <= 2 * np.linalg.norm(frequency_response(stacked, 0.0)[0], 2) * (1 + tol(2))
    assert modal_bound(both, [0, 1]) >= wide


def test_unstable():
    with pytest.raises(StabilityError):
        modal_bound(DiagonalStateSpace([1.0], [[1]], [[1]]), [0])


@pytest.mark.parametrize(
    ("numbers", "part"),
    [
        ({"floor": 2.0, "bound": 1.0}, "the floor.*above the bound"),
        ({"floor": 2.0, "bound": 5.0, "error": (1.0, 1.5)}, "the floor.*above the certified error"),
        ({"floor": 0.0, "bound": 5.0, "error": (6.0, 7.0)}, "the certified error.*above the bound"),
        ({"floor": [0.0, 3.0], "bound": [1.0, 2.0]}, "3, is above the bound, 2"),
        ({"floor": 0.0, "bound": float("nan")}, "above the bound"),
    ],
)
def test_contradictions_are_named(numbers, part):
    with pytest.raises(AccuracyError, match=part):
        require_consistent(**numbers)
    require_consistent(floor=[0.0, 1.0], bound=[0.0, 1.0], error=([0.0, 1.0], [0.0, 1.0]))
