"""What a user may pass to the norms: numbers, lists, any time base, nothing at all; what is refused says why."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from theory.errors import AccuracyError, InputError, StabilityError
from theory.gramians.h2 import h2_norm
from theory.gramians.hankel import hankel_singular_values
from theory.norms import hinf_norm, linf_norm
from theory.reduction.modal_gains import last_gains, modal_gain_bounds, modal_gains
from theory.systems.system import DiagonalStateSpace, StateSpace

VERBS = [hinf_norm, linf_norm, h2_norm, hankel_singular_values, modal_gains, last_gains, modal_gain_bounds]


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_not_a_system_is_refused_with_advice(verb: Any) -> None:
    with pytest.raises(InputError, match=r"is needed, got numpy\.ndarray"):
        verb(np.eye(2))
    with pytest.raises(InputError, match="SimpleNamespace"):
        verb(SimpleNamespace(A=[[0.5]], B=[[1]]))


@pytest.mark.parametrize("verb", VERBS)
def test_what_has_a_system_stands_for_it(verb: Any) -> None:
    system = DiagonalStateSpace([0.5], [[1]], [[1]])
    wanted, found = verb(system), verb(SimpleNamespace(system=system))
    assert repr(found) == repr(wanted)


def test_modal_gains_are_of_diagonal_systems() -> None:
    with pytest.raises(InputError, match="a DiagonalStateSpace is needed"):
        modal_gains(StateSpace(-1, 1, 1))


@pytest.mark.parametrize("tolerance", ["1e-3", None, [1e-3]])
def test_a_tolerance_is_a_number(tolerance: Any) -> None:
    with pytest.raises(InputError, match="rtol"):
        hinf_norm(StateSpace(-1, 1, 1), tolerance)


def test_numbers_lists_integers_and_float32_are_systems() -> None:
    # 3 + 2/(s+4): the gain falls from 3.5 at zero
    for system in (
        StateSpace(-4, 1, 2, 3),
        StateSpace([[-4]], [[1]], [[2]], [[3]]),
        StateSpace(np.float32([[-4]]), np.int8([[1]]), [[np.float16(2)]], np.longdouble(3)),
    ):
        assert 3.5 in hinf_norm(system)
        assert hinf_norm(system).status == "closed"
    assert StateSpace([[-4]], [[1, 2]], [[2], [1], [0]], 0).D.shape == (3, 2)
    assert 3.0 in hinf_norm(StateSpace([], [], [], -3))


@pytest.mark.parametrize("dt", [0.1, 1, 5.0, np.float32(2)])
def test_the_witness_is_in_radians_per_sample_whatever_dt_is(dt: Any) -> None:
    pole = 0.999 * np.exp(0.3j)
    system = DiagonalStateSpace([pole], [[1]], [[1]], dt=dt, conjugate_pairs=False)
    bracket = hinf_norm(system)
    assert bracket.frequency == pytest.approx(0.3, abs=1e-5)
    value = 1 / (np.exp(1j * bracket.frequency) - pole)
    assert abs(value) == pytest.approx(1 / system.margin[0], rel=1e-8)
    other = hinf_norm(system.replace(dt=1.0))
    assert (bracket.lower, bracket.upper) == (other.lower, other.upper)


def rotation(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


@pytest.mark.parametrize("angle", [1e-8, 1e-3, 0.3, np.pi / 4, 1.0, np.pi / 2, 2.0, 3.0])
@pytest.mark.parametrize("shrink", [0.0, 1e-16])
def test_poles_on_the_circle_to_rounding_are_refused(angle: float, shrink: float) -> None:
    # cos^2 + sin^2 of the float64 entries is on either side of one: nobody means that
    system = StateSpace(rotation(angle) * (1 - shrink), [[1], [1]], [[1, 0]], dt=1.0)
    with pytest.raises((StabilityError, AccuracyError)):
        hinf_norm(system)
    bracket = linf_norm(system)
    assert bracket.lower > 1e14
    assert bracket.upper >= bracket.lower
    assert bracket.status == "open" or np.isinf(bracket.lower)


@pytest.mark.parametrize("damping", [0.0, 1e-16, -1e-16])
def test_poles_on_the_axis_to_rounding_are_refused(damping: float) -> None:
    with pytest.raises((StabilityError, AccuracyError)):
        hinf_norm(StateSpace([[-damping, 3.7], [-3.7, -damping]], [[1], [1]], [[1, 0]]))


@pytest.mark.parametrize("margin", [1e-13, 1e-11, 1e-9])
def test_poles_that_are_inside_beyond_rounding_are_bracketed(margin: float) -> None:
    # G of the rotated pair is c (zI-A)^{-1} b; its determinant and numerator are known to rounding of the entries
    A = rotation(1.0) * (1 - margin)
    system = StateSpace(A, [[1], [1]], [[1, 0]], dt=1.0)
    bracket = hinf_norm(system)
    # residue of the pole e^{j} is (1 + j)/2: the peak is |residue| / margin up to the far pole
    assert bracket.lower * margin == pytest.approx(np.sqrt(0.5), rel=1e-2)
    assert bracket.width <= 1e-15 / margin * 4 + 1e-8


@pytest.mark.parametrize("shape", [(0, 0), (0, 2), (2, 0)])
def test_no_inputs_no_outputs_no_states(shape: tuple[int, int]) -> None:
    p, m = shape
    for system in (
        StateSpace(0.5 * np.eye(2), np.ones((2, m)), np.ones((p, 2)), dt=1.0),
        StateSpace(np.zeros((0, 0)), np.zeros((0, m)), np.zeros((p, 0))),
        DiagonalStateSpace([0.5], np.ones((1, m)), np.ones((p, 1))),
        DiagonalStateSpace(np.zeros((3, 1)), np.ones((3, 1, m)), np.ones((3, p, 1))),
    ):
        bracket = hinf_norm(system)
        assert not np.any(bracket.upper)
        assert bracket.status == "closed"
        assert not np.any(h2_norm(system))
        assert not np.any(hankel_singular_values(system))


def test_batches_without_systems_and_without_states() -> None:
    empty = DiagonalStateSpace(np.zeros((0, 3)), np.zeros((0, 3, 1)), np.zeros((0, 1, 3)))
    assert hinf_norm(empty).lower.shape == linf_norm(empty).upper.shape == h2_norm(empty).shape == (0,)
    assert hankel_singular_values(empty).shape == (0, 6)
    static = DiagonalStateSpace(np.zeros((2, 0)), np.zeros((2, 0, 1)), np.zeros((2, 1, 0)), [[[1.0]], [[-2.0]]])
    for norm in (hinf_norm, linf_norm):
        assert (norm(static).lower <= [1, 2]).all()
        assert (norm(static).upper >= [1, 2]).all()
