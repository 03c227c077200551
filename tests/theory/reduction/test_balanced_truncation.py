"""Balanced and modal truncation: what is special to them (the laws of all methods are in tests/contract)."""

import sys

import numpy as np
import pytest
from hypothesis import given
from strategies import dense_systems, diagonal_systems, gaussian
from tolerance import tol

from theory.errors import AccuracyError, InputError, OrderError, StabilityError, ToleranceError
from theory.gramians.hankel import hankel_singular_values
from theory.reduction.balanced_truncation import balanced_truncation
from theory.reduction.balancing import balance
from theory.reduction.modal_truncation import kept_indices, modal_truncation
from theory.systems.realization import dense
from theory.systems.response import frequency_response
from theory.systems.system import DiagonalStateSpace, StateSpace


def sweep(system, reduced):
    """Largest gain of the difference on a grid that has the poles of both."""
    poles = np.concatenate([np.ravel(system.poles), np.ravel(reduced.poles)])
    angles = np.angle(poles) if system.is_discrete else poles.imag
    omega = np.unique(np.concatenate([angles, -angles, np.linspace(-np.pi, np.pi, 257)]))
    gap = frequency_response(system, omega) - frequency_response(reduced, omega)
    return np.linalg.norm(gap, 2, axis=(-2, -1)).max(axis=-1)


@given(dense_systems(closest=1e-2))
def test_dense_truncation_is_balanced_in_continuous_time(system):
    """The reduced system of a continuous one has the leading Hankel singular values; in discrete time at most those."""
    hsv = hankel_singular_values(system)
    clear = [k for k in range(1, system.n) if hsv[k] < 0.9 * hsv[k - 1] and hsv[k - 1] > 1e-4 * hsv[0]]
    for k in clear[:2]:
        found = balanced_truncation(system, k)
        assert found.system.n == k
        assert found.system.is_real == system.is_real
        again = hankel_singular_values(found.system)
        room = 1e-6 * hsv[0]
        if system.is_discrete:
            assert np.all(again <= hsv[:k] + room)
        else:
            assert np.abs(again - hsv[:k]).max() <= room


def test_one_state_less_in_a_siso_system_attains_twice_the_value(rng):
    """Truncating the last state of a continuous SISO system with simple values: the error is 2 sigma_n exactly."""
    relaxation = StateSpace(-np.diag([1.0, 3.0, 10.0]), np.ones((3, 1)), np.ones((1, 3)))
    found = balanced_truncation(relaxation, 2)
    error = np.abs(frequency_response(relaxation, 0.0) - frequency_response(found.system, 0.0)).max()
    assert error == pytest.approx(2 * found.hsv[2], rel=1e-9)
    assert error <= found.bound


@given(diagonal_systems(pairs=True, delay=None, bidirectional=None, closest=1e-3, badly_scaled=False, max_n=8))
def test_a_budget_in_stored_states_is_kept_and_used(system):
    balancing = balance(system)
    for order in range(1, system.n):
        try:
            found = balanced_truncation(system, order, balancing=balancing, condition_limit=1e12)
        except (AccuracyError, StabilityError):
            continue
        except OrderError as refusal:
            if refusal.attainable >= order:
                raise
            continue
        poles = found.system.poles
        assert found.order == found.system.n <= order
        used = int((2 * (poles.imag > 0) + (poles.imag == 0)).sum())
        assert used == found.diagnostics["states"]
        real_at_most = (hankel_singular_values(system) > 0).sum()
        assert used <= min(2 * order, real_at_most)
        assert sweep(system, found.system) <= found.bound * (1 + tol(system.n)) + 1e-12 * found.hsv[0]


def test_real_poles_shrink_the_real_order():
    """A system of real poles reduced to r stored states has r real poles, each with half its C."""
    system = DiagonalStateSpace([0.9, 0.5, -0.4, 0.1], [[1.0], [2], [1], [3]], [[1.0, 1, 2, 1]])
    found = balanced_truncation(system, 2)
    assert found.order == 2
    assert found.diagnostics["states"] == 2
    assert not found.system.poles.imag.any()
    assert sweep(system, found.system) <= found.bound


def test_delay_and_direction_are_kept(rng):
    n = 8
    poles = 0.95 * rng.uniform(0.5, 1, n) * np.exp(1j * rng.uniform(0.2, 3, n))
    D = rng.standard_normal((2, 3))
    layer = DiagonalStateSpace(poles, gaussian(rng, n, 3), gaussian(rng, 2, n), D, delay=0, dt=0.5)
    one = balanced_truncation(layer, 4)
    assert (one.system.delay, one.system.dt) == (0, 0.5)
    assert np.array_equal(one.system.D, D)
    # with D kept, the error norm does not see the delay: the same reduction serves both
    other = balanced_truncation(layer.replace(delay=1), 4)
    assert np.allclose(one.system.poles, other.system.poles)
    assert sweep(layer, one.system) == pytest.approx(sweep(layer.replace(delay=1), other.system), rel=1e-9)
    both = balanced_truncation(layer.replace(C_reverse=gaussian(rng, 2, n), delay_reverse=0), 4)
    assert both.system.C_reverse.shape == (2, both.order)
    assert both.system.delay_reverse == 0


def test_batch_equals_its_members(rng):
    shape, n = (2, 3), 6
    poles = 0.95 * rng.uniform(0.5, 1, (*shape, n)) * np.exp(1j * rng.uniform(0.2, 3, (*shape, n)))
    batch = DiagonalStateSpace(poles, gaussian(rng, *shape, n, 1), gaussian(rng, *shape, 1, n), delay=0)
    found = balanced_truncation(batch, 3)
    assert found.system.batch_shape == found.bound.shape == found.floor.shape == shape
    for index in np.ndindex(shape):
        one = balanced_truncation(batch[index], 3)
        assert found.bound[index] == pytest.approx(one.bound, rel=1e-9)
        assert sweep(batch[index], found.system[index]) == pytest.approx(sweep(batch[index], one.system), rel=1e-6)


def test_channels_that_need_fewer_states_are_filled_up(rng):
    poles = 0.9 * np.exp(1j * rng.uniform(0.2, 3, (3, 4)))
    B = np.ones((3, 4, 1), dtype=complex)
    B[1, 1:] = 0  # one state present
    B[2] = 0  # none
    batch = DiagonalStateSpace(poles, B, gaussian(rng, 3, 1, 4))
    found = balanced_truncation(batch, 2)
    assert found.system.poles.shape == (3, 2)
    assert "filled up" in found.status
    assert np.all(np.abs(found.system.poles) < 1)
    assert np.all(sweep(batch, found.system) <= found.bound + 1e-12 * found.hsv[:, 0])


def test_all_states_return_the_system_itself(rng):
    system = DiagonalStateSpace([0.5j, 0.5j, 0.0], [[1.0], [1], [0]], [[1.0, 1, 1]])
    found = balanced_truncation(system, 3)
    assert found.system is system
    assert found.bound == 0.0
    static = StateSpace([], [], [], [[1.0]])
    assert balanced_truncation(static, 0).system is static
    assert balanced_truncation(static, rtol=0.1).system is static


def test_states_that_are_not_there():
    """Three copies of one pair: one state is present, and asking for two says so."""
    system = DiagonalStateSpace([0.5j] * 3, [[1.0], [2], [3]], [[1.0, 1, 1]])
    assert balanced_truncation(system, 1).bound <= 1e-10
    with pytest.raises(OrderError, match="numerically present") as caught:
        balanced_truncation(system, 2)
    assert (caught.value.asked, caught.value.attainable) == (2, 1)


@pytest.mark.parametrize("rtol", [10.0, 0.5, 1e-2, 1e-6, 0.0])
def test_tolerance_gives_the_smallest_order(rng, rtol):
    n = 10
    poles = 0.98 * rng.uniform(0.3, 1, n) * np.exp(1j * rng.uniform(0.2, 3, n))
    system = DiagonalStateSpace(poles, gaussian(rng, n, 2), gaussian(rng, 2, n))
    found = balanced_truncation(system, rtol=rtol)
    goal = rtol * found.hsv[0]
    assert found.bound <= goal
    if found.order > 1:
        assert balanced_truncation(system, found.order - 1).bound > goal
    full = balanced_truncation(dense(system), rtol=rtol)
    assert full.bound <= goal


@pytest.mark.parametrize("order", [-2, -1, 4, 100])
def test_orders_out_of_range(order):
    for system in (
        DiagonalStateSpace([0.5, 0.2j, 0.1], np.ones((3, 1)), np.ones((1, 3))),
        StateSpace(np.diag([0.5, 0.2, 0.1]), np.ones((3, 1)), np.ones((1, 3)), dt=1.0),
    ):
        with pytest.raises(OrderError) as caught:
            balanced_truncation(system, order)
        assert (caught.value.asked, caught.value.attainable) == (order, 3)


def test_other_bad_arguments():
    system = DiagonalStateSpace([0.5, 0.2j], np.ones((2, 1)), np.ones((1, 2)))
    for order in (1.0, True, "1", None):
        with pytest.raises(InputError):
            balanced_truncation(system, order)
    for rtol in (-1.0, np.nan):
        with pytest.raises(ToleranceError):
            balanced_truncation(system, rtol=rtol)
    with pytest.raises(InputError):
        balanced_truncation(system, 1, 0.1)
    with pytest.raises(InputError, match="another system"):
        balanced_truncation(system, 1, balancing=balance(system.replace(D=None)))
    with pytest.raises(StabilityError):
        balanced_truncation(system.replace(poles=[0.5, 1.0]), 1)


def test_modal_truncation_keeps_bits(rng):
    system = DiagonalStateSpace(
        0.9 * np.exp(1j * rng.uniform(0, 3, 5)), gaussian(rng, 5, 2), gaussian(rng, 1, 5), C_reverse=gaussian(rng, 1, 5)
    )
    found = modal_truncation(system, [3, 0])
    assert np.array_equal(found.system.poles, system.poles[[0, 3]])
    assert np.array_equal(found.system.C_reverse, system.C_reverse[:, [0, 3]])
    assert found.diagnostics["removed"].tolist() == [1, 2, 4]
    assert found.floor <= sweep(system, found.system) <= found.bound
    shared = modal_truncation(system, [3, 0], balancing=balance(system))
    assert (shared.bound, shared.floor) == (found.bound, found.floor)
    assert modal_truncation(system, np.ones(5, dtype=bool)).system is system
    assert modal_truncation(system, []).order == 0


@pytest.mark.parametrize("keep", [[0, 0], [5], [-6], [0.5], [[0]], [True, False], "0"])
def test_what_to_keep_is_checked(keep):
    system = DiagonalStateSpace([0.5] * 5, np.ones((5, 1)), np.ones((1, 5)))
    with pytest.raises(InputError):
        modal_truncation(system, keep)


def test_modal_truncation_needs_modes():
    with pytest.raises(InputError, match="diagonal"):
        modal_truncation(StateSpace([[0.5]], [[1]], [[1]], dt=1.0), [0])
    assert kept_indices([-1, 0], 3).tolist() == [0, 2]


def test_representation():
    found = balanced_truncation(DiagonalStateSpace([0.5, 0.2j], np.ones((2, 1)), np.ones((1, 2))), 1)
    assert repr(found).startswith("Truncation(order=1, bound=")


@pytest.mark.parametrize("order", [22, 31, 40])
def test_of_many_states_not_every_number_is_tried_and_few_are_lost(
    order: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Near the real axis, where many poles of a reduced system are real."""
    rng = np.random.default_rng(0)
    n, module = 120, sys.modules[balanced_truncation.__module__]
    poles = np.exp(-(10.0 ** rng.uniform(-3, 0, n)) + 1j * rng.uniform(0, 0.002, n))
    B, C = gaussian(rng, n, 3), gaussian(rng, 3, n)
    system = DiagonalStateSpace(poles, B, C, np.zeros((3, 3)), dt=1.0, delay=0)
    balancing, tried, plain = balance(system), [], np.linalg.eigvals
    monkeypatch.setattr(np.linalg, "eigvals", lambda A: tried.append(len(A)) or plain(A))
    found = {}
    for name, many in (("each", 10**9), ("some", 20)):
        monkeypatch.setattr(module, "MANY", many)
        tried.clear()
        found[name] = balanced_truncation(system, order, balancing=balancing), len(tried)
    (each, all_tried), (some, some_tried) = found["each"], found["some"]
    assert each.order <= order
    assert some.order <= order
    assert each.diagnostics["states"] - 4 <= some.diagnostics["states"] <= each.diagnostics["states"]
    assert some_tried < all_tried
    assert sweep(system, some.system).max() <= some.bound
