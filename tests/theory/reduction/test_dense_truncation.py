"""Reduced dense systems: floor <= sigma, error <= bound, and rtol keeps its promise, against 120 and 60 digits."""

import os

import numpy as np
import pytest
from dense_cases import DRAWS, attained_error, exact

from theory.errors import AccuracyError, OrderError, StabilityError
from theory.norms import error_norm
from theory.reduction.balanced_truncation import balanced_truncation
from theory.systems.system import StateSpace

CASES = int(os.environ.get("SSMREDUCE_DENSE_CASES", "6"))
ORDERS = (3, 11) if CASES > 6 else (3, 7)


@pytest.mark.parametrize("seed", range(CASES))
@pytest.mark.parametrize("kind", DRAWS)
def test_floor_error_bound_and_promise(kind, seed):
    rng = np.random.default_rng([seed, 10])
    system = DRAWS[kind](rng, ORDERS) if kind == "filter" else DRAWS[kind](rng)
    truth = exact(system)
    rtol, answered = 10 ** rng.uniform(-5, -0.5), 0
    for options in ({"order": int(rng.integers(1, system.n + 1))}, {"rtol": rtol}):
        try:
            found = balanced_truncation(system, **options)
        except (StabilityError, AccuracyError):
            continue
        except OrderError as refusal:
            present = refusal.attainable
            assert truth.hsv[present] <= 1e-14 * truth.hsv[0]
            continue
        assert truth.stable
        answered += 1
        error = attained_error(system, found.system)
        assert error <= found.bound * (1 + 1e-13)
        if found.order < system.n:
            assert found.floor <= truth.hsv[found.order]
            assert found.floor >= truth.hsv[found.order] - 1e-5 * truth.hsv[0]
        if "rtol" in options:
            assert error <= found.bound <= rtol * truth.hsv[0] * (1 + 1e-6)
    assert answered or not truth.stable


def test_a_stiff_system_of_integers():
    """Poles -1e12, -1, -6; float64 said 9.8e-11 where the error was 0.987."""
    system = StateSpace(
        [[6999999999992.0, 13999999999986.0, 13999999999986.0],
         [-6000000000004.0, -12000000000004.0, -11999999999998.0],
         [2000000000008.0, 4000000000011.0, 4000000000005.0]],
        [[1.0], [-2.0], [-2.0]], [[1.0, 2.0, -3.0]],
    )  # fmt: skip
    found = balanced_truncation(system, order=2)
    assert attained_error(system, found.system) <= found.bound <= 1e-10
    assert found.hsv == pytest.approx([58.4135360272, 1.74686936054, 3.85e-11], rel=1e-9)


def test_a_system_of_lower_order_in_disguise():
    """Three states with the transfer function 9/(s + 1): any floor above rounding would be beaten by it."""
    system = StateSpace(
        [[-300000000010.0, 600000000030.0, -600000000012.0],
         [-99999999999.0, 199999999997.0, -199999999998.0],
         [6.0, -18.0, 8.0]],
        [[-3.0], [0.0], [2.0]], [[-1.0, 3.0, 3.0]],
    )  # fmt: skip
    found = balanced_truncation(system, order=1)
    assert found.floor <= 1e-40
    assert found.bound <= 1e-13
    with pytest.raises(OrderError) as caught:
        balanced_truncation(system, order=2)
    assert caught.value.attainable == 1


@pytest.mark.parametrize("fast", [1e11, 1e13, 1e15])
def test_two_time_scales(fast):
    system = StateSpace([[-1.0, 1.0 - fast], [0.0, -fast]], [[1.0 + fast], [fast]], [[1.0, 0.0]])
    found = balanced_truncation(system, order=1)
    assert attained_error(system, found.system) <= found.bound <= 1.0 + 1e-9


def test_the_bound_of_ordinary_systems_is_the_classical_one(rng):
    """The proof takes nothing away: twice the sum of the values, within what the rounding may be."""
    A = rng.normal(size=(12, 12))
    A *= 0.9 / np.abs(np.linalg.eigvals(A)).max()
    system = StateSpace(A, rng.normal(size=(12, 2)), rng.normal(size=(2, 12)), dt=1.0)
    for order in (2, 5):
        found = balanced_truncation(system, order=order)
        classical = 2.0 * found.hsv[order:].sum()
        assert classical <= found.bound <= classical * (1 + 1e-9)
        assert error_norm(system, found.system).lower <= found.bound


def test_a_pole_outside_by_less_than_rounding():
    with pytest.raises(StabilityError):  # by 2e-18
        balanced_truncation(StateSpace([[1.0, 1e-9], [1e-9, 0.5]], [[1.0], [1.0]], [[1.0, 1.0]], dt=1.0), order=1)
