"""Numbers of every kind become float64, and what is none becomes an error that names the argument."""

from __future__ import annotations

import decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from theory.errors import DimensionError, InputError, TimeBaseError
from theory.systems.discrete_modes import bilinear, zero_order_hold
from theory.systems.numeric import numeric, real, validated_dt
from theory.systems.response import frequency_response
from theory.systems.simulation import impulse_response, simulate
from theory.systems.system import DiagonalStateSpace, StateSpace

G = StateSpace([[0.5]], [[1.0]], [[1.0]], dt=1)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ([[Fraction(1, 3), 2]], [[1 / 3, 2.0]]),
        ([decimal.Decimal("0.1"), 1.5], [0.1, 1.5]),
        (10**30, 1e30),
        ([-(2**70), 1], [-(2.0**70), 1.0]),
        ([True, False], [1.0, 0.0]),
        (np.float32(0.5), 0.5),
        (np.ma.array([1.0, 2.0], mask=[False, False]), [1.0, 2.0]),
        ([Fraction(1, 2), 1j], [0.5, 1j]),
        (np.longdouble(0.25), 0.25),
        ([], []),
    ],
)
def test_numbers_of_every_kind(given: Any, wanted: Any) -> None:
    found = numeric("A", given)
    assert found.dtype in (np.float64, np.complex128)
    assert np.array_equal(found, np.array(wanted))


@pytest.mark.parametrize(
    "given", [Fraction(1, 3), Fraction(2**60 + 1, 3**40), decimal.Decimal("1e-320"), 2**63 + 2**10 + 1]
)
def test_rounded_to_nearest(given: Any) -> None:
    found = float(numeric("A", [[given]])[0, 0])
    exact = Fraction(given)
    for other in (np.nextafter(found, -np.inf), np.nextafter(found, np.inf)):
        assert abs(Fraction(found) - exact) <= abs(Fraction(float(other)) - exact)


@pytest.mark.parametrize(
    "given",
    [[[1.0, None]], "1.0", [["0.5"]], object(), [[1, 2], [3]], [10**400], {1.0}, np.array(["a"]), [Fraction, 1]],
)
def test_what_is_no_number_names_the_argument(given: Any) -> None:
    with pytest.raises(InputError, match=r"^A "):
        StateSpace(given, [[1.0]], [[1.0]])


def test_masked_entries_are_no_numbers() -> None:
    masked = np.ma.array([[0.5]], mask=[[True]])
    for place in range(3):
        matrices = [[[0.5]], [[1.0]], [[1.0]]]
        matrices[place] = masked
        with pytest.raises(InputError, match="masked"):
            StateSpace(*matrices, dt=1)
    with pytest.raises(InputError, match="masked"):
        DiagonalStateSpace(masked[0], [[1.0]], [[1.0]])
    with pytest.raises(InputError, match="u has masked"):
        simulate(G, masked)


@pytest.mark.parametrize(
    "dt", [10**400, Fraction(10**400), -1, 0, True, "1", 1j, np.inf, decimal.Decimal("NaN"), [1.0]]
)
def test_what_is_no_sample_time(dt: Any) -> None:
    with pytest.raises(TimeBaseError) as caught:
        StateSpace([[0.5]], [[1.0]], [[1.0]], dt=dt)
    assert len(str(caught.value)) < 250


def test_sample_times() -> None:
    for dt, wanted in ((Fraction(1, 8), 0.125), (decimal.Decimal("0.1"), 0.1), (np.float32(0.5), 0.5), (2, 2.0)):
        assert validated_dt(dt) == wanted


@pytest.mark.parametrize(
    "omega", [0.1 + 1j, [0.1, 1j], "low", [[0.1]], None, [np.nan], np.ma.array([1.0], mask=[True])]
)
def test_frequencies_are_real(omega: Any) -> None:
    with pytest.raises(InputError):
        frequency_response(G, omega)


def test_real_refuses_complex_numbers_instead_of_cutting_them() -> None:
    assert real("omega", [1, Fraction(1, 2)]).tolist() == [1.0, 0.5]
    with pytest.raises(InputError, match="omega must be real"):
        real("omega", [1 + 0j])


@pytest.mark.parametrize("length", [-1, 2.5, "4", None, True, [3]])
def test_lengths_are_whole_numbers(length: Any) -> None:
    with pytest.raises(InputError, match="whole number of samples"):
        impulse_response(G, length)


def test_signals_and_states_are_checked() -> None:
    two = DiagonalStateSpace([0.5, 0.25], [[1.0], [1.0]], [[1.0, 1.0]])
    for system, state in ((G, [1.0, 2.0]), (G, 1.0), (two, [1.0]), (two, np.ones((3, 2)))):
        with pytest.raises(DimensionError, match="x0"):
            simulate(system, np.ones((2, 4, 1)) if np.ndim(state) == 2 else np.ones((4, 1)), state)
    with pytest.raises(InputError, match="u"):
        simulate(G, [[np.nan]])
    with pytest.raises(InputError, match="x0"):
        simulate(G, [[1.0]], [np.inf])
    assert simulate(G, np.ones((2, 4, 1)), np.ones((2, 1)))[:, 0, 0].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("function", [zero_order_hold, bilinear])
def test_diagonal_rules_check_their_arguments(function: Any) -> None:
    for arguments in ((None, [[1.0]], 1.0), ([-1.0], "B", 1.0), ([-1.0], [[1.0]], 1j), ([-1.0], [[1.0]], [1.0, 2.0])):
        with pytest.raises(InputError):
            function(*arguments)
