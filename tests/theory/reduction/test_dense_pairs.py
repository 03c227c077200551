"""Pairs of Gramians of dense systems: stable from one side, the same in all coordinates, floor <= error <= bound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st
from strategies import dense_systems

from theory.errors import AccuracyError, StabilityError
from theory.gramians.frequency_limited import frequency_limited_gramians
from theory.gramians.gramians import gramians
from theory.norms import error_norm
from theory.reduction.balanced_truncation import balanced_truncation
from theory.reduction.balancing import Remark, balance
from theory.reduction.dense_pairs import truncate_by_pair
from theory.systems.response import frequency_response
from theory.systems.system import StateSpace

BAND = (0.3, 1.1)


def from_the_input(modes):
    return frequency_limited_gramians(modes, BAND)[0], None


def from_the_output(modes):
    return gramians(modes)[0], frequency_limited_gramians(modes, BAND)[1]


def exact(modes):
    return gramians(modes)


def reduced(system, order, pair):
    return truncate_by_pair(system, order, pair, balance(system))


def turned(system, seed):
    T = np.linalg.qr(np.random.default_rng(seed).standard_normal((system.n, system.n)))[0]
    return StateSpace(T @ system.A @ T.T, T @ system.B, system.C @ T.T, system.D, dt=system.dt)


@given(dense_systems(closest=1e-2), st.sampled_from([from_the_input, from_the_output]), st.integers(0, 99))
def test_one_side_is_stable_and_the_bound_holds(system, pair, seed):
    order = seed % (system.n + 1)
    try:
        found = reduced(system, order, pair)
    except AccuracyError:  # modes that cannot be told apart: rare, or Hypothesis complains
        reject()
    small = found.system
    assert isinstance(small, StateSpace)
    assert (small.n, small.is_real, small.dt) == (order, system.is_real, system.dt)
    assert np.array_equal(small.D, system.D)
    assert (np.abs(small.poles) < 1 if system.is_discrete else small.poles.real < 0).all()
    error = error_norm(system, small, rtol=1e-3)
    assert error.lower <= found.bound
    assert found.floor <= error.upper


@pytest.mark.parametrize("dt", [1.0, None])
@pytest.mark.parametrize("pair", [from_the_input, from_the_output])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_coordinates_do_not_matter_and_real_poles_take_one_state(dt, pair, order):
    """Two real poles and a complex pair, stored as three modes: the unused part of a real mode never appears."""
    A = np.diag([0.9, -0.4, 0.0, 0.0, 0.3])
    A[2:4, 2:4] = [[0.6, 0.5], [-0.5, 0.6]]
    rng = np.random.default_rng(0)
    system = StateSpace(A if dt else A - np.eye(5), rng.standard_normal((5, 2)), rng.standard_normal((2, 5)), dt=dt)
    one, other = (reduced(item, order, pair) for item in (system, turned(system, 1)))
    omega = np.linspace(0, 3, 21)
    found, wanted = (frequency_response(item.system, omega) for item in (one, other))
    assert np.abs(found - wanted).max() <= 1e-8 * np.abs(wanted).max()
    assert (
        np.linalg.matrix_rank(np.hstack([np.linalg.matrix_power(one.system.A, k) @ one.system.B for k in range(5)]))
        == order
    )


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_exact_pair_is_balanced_truncation(order):
    rng = np.random.default_rng(5)
    T = rng.standard_normal((5, 5))
    system = StateSpace(
        0.8 * T / np.abs(np.linalg.eigvals(T)).max(), rng.standard_normal((5, 2)), np.ones((1, 5)), dt=1.0
    )
    ours, theirs = reduced(system, order, exact), balanced_truncation(system, order)
    omega = np.linspace(0, 3, 21)
    gap = frequency_response(ours.system, omega) - frequency_response(theirs.system, omega)
    assert np.abs(gap).max() <= 1e-6 * theirs.hsv[0]
    assert np.allclose(ours.hsv, theirs.hsv)
    assert ours.bound >= theirs.floor


def test_a_pair_that_is_not_stable_is_refused_or_takes_the_exact_observability():
    fallen = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        T = rng.standard_normal((6, 6))
        system = StateSpace(
            0.97 * T / np.abs(np.linalg.eigvals(T)).max(),
            rng.standard_normal((6, 1)),
            rng.standard_normal((1, 6)),
            dt=1.0,
        )
        order = 1 + seed % 4

        def pair(modes):
            return frequency_limited_gramians(modes, (0.5, 0.6))

        shared = balance(system)
        kept = truncate_by_pair(system, order, pair, shared, fall_back=True)
        assert (np.abs(kept.system.poles) < 1).all()
        if not kept.remarks:
            assert np.array_equal(truncate_by_pair(system, order, pair, shared).system.A, kept.system.A)
            continue
        fallen += 1
        assert (kept.remarks, "exact observability" in kept.status) == ((Remark.PARTLY_REFUSED,), True)
        with pytest.raises(StabilityError, match="one side only"):
            truncate_by_pair(system, order, pair, shared)
        half = truncate_by_pair(system, order, lambda modes: (pair(modes)[0], None), shared)
        assert np.array_equal(half.system.A, kept.system.A)
    assert 0 < fallen < 12


def test_modes_that_cannot_be_told_apart_are_refused():
    system = StateSpace([[0.5, 1.0], [0.0, 0.5]], [[0.0], [1.0]], [[1.0, 0.0]], dt=1.0)
    with pytest.raises(AccuracyError, match="cannot be told apart") as caught:
        reduced(system, 1, from_the_input)
    assert caught.value.condition > 1e8
    with pytest.raises(StabilityError):
        reduced(StateSpace(1.1, 1, 1, 0, dt=1.0), 1, from_the_input)
