"""The norm does not depend on the unit of time, however extreme; what cannot be represented stays true."""

from __future__ import annotations

import sys
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest

from theory.errors import StabilityError
from theory.norms import hinf_norm
from theory.norms.bracket import Bracket
from theory.systems.system import DiagonalStateSpace, StateSpace, System
from theory.systems.units import power_of_two, unit_time

sys.path.insert(0, str(Path(__file__).parents[1]))
from reference.gains import exact_gain

mp.mp.dps = 50

RATES = [10.0**k for k in (-300, -200, -140, -60, -9, 0, 9, 60, 140, 200, 300)]


def first_order(rate: float) -> StateSpace:
    return StateSpace(-rate, rate / 2.0, 2.0)


def oscillator(rate: float) -> StateSpace:
    return StateSpace(np.array([[-0.1, 1.0], [-1.0, -0.1]]) * rate, [[rate], [0.0]], [[1.0, 0.0]])


def defective(rate: float) -> StateSpace:
    return StateSpace(np.array([[-1.0, 1.0], [0.0, -1.0]]) * rate, [[1.0], [1.0]], [[rate, 0.0]])


def one_mode(rate: float) -> DiagonalStateSpace:
    return DiagonalStateSpace([(-0.1 + 1j) * rate], [[1.0]], [[rate]], dt=None)


def channel(rate: float) -> DiagonalStateSpace:
    return DiagonalStateSpace([[(-0.1 + 1j) * rate]], [[[rate]]], [[[1.0]]], dt=None)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("make", [first_order, oscillator, defective, one_mode, channel])
def test_the_unit_of_time_does_not_matter(make: object, rate: float) -> None:
    system: System = make(rate)  # type: ignore[operator]
    plain: Bracket = hinf_norm(make(1.0))  # type: ignore[operator]
    bracket = hinf_norm(system)
    assert bracket.status == "closed"
    # the same numbers times a power of ten, each rounded
    assert bracket.lower == pytest.approx(plain.lower, rel=2e-8)
    one = system[0] if make is channel else system  # type: ignore[index]
    frequency = float(np.asarray(bracket.frequency).ravel()[0])
    for moved in (0.0, -1e-3, -1e-5, 1e-7, 1e-5, 1e-3):
        assert exact_gain(one, frequency * (1 + moved)) <= np.asarray(bracket.upper).ravel()[0]
    assert exact_gain(one, frequency) >= np.asarray(bracket.lower).ravel()[0]


@pytest.mark.parametrize("rate", [1e-200, 3.0, 1e200])
def test_errors_speak_the_units_of_the_system(rate: float) -> None:
    A = np.array([[0.5, 1.0], [-1.0, 0.5]]) * rate
    with pytest.raises(StabilityError) as caught:
        hinf_norm(StateSpace(A, np.ones((2, 1)), np.ones((1, 2))))
    np.testing.assert_allclose(np.sort(caught.value.poles.imag), [-rate, rate], rtol=1e-12)
    assert caught.value.margin == pytest.approx(-0.5 * rate)
    assert f"{-0.5 * rate:.3g}" in str(caught.value)


def test_only_exact_changes_are_made() -> None:
    tiny = StateSpace([[-1e300, 1.0], [0.0, -1e300]], [[1e-300], [1.0]], [[1.0, 5e-324]])
    same, unit = unit_time(tiny)
    assert (unit, same) == (1.0, tiny) or np.array_equal(same.A * unit, tiny.A)
    discrete = StateSpace(0.5, 1, 1, dt=1.0)
    assert unit_time(discrete) == (discrete, 1.0)
    batch = DiagonalStateSpace(
        [[-1e5 + 1j], [-1e-5 + 3j]], np.ones((2, 1, 1)), np.ones((2, 1, 1)), dt=None, conjugate_pairs=False
    )
    moved, units = unit_time(batch)
    assert units.tolist() == [power_of_two(1e5), power_of_two(3.0)]
    assert np.array_equal(moved.poles * units[:, None], batch.poles)
    assert np.array_equal(moved.C * units[:, None, None], batch.C)
