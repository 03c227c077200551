"""The refitted output is the best in H2: energies by the mean over the circle, not by Gramians."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from contract_cases import diagonal, members, response
from strategies import gaussian

from ssmreduce import Refit, reduce
from theory.errors import DimensionError, InputError
from theory.reduction.balanced_truncation import balanced_truncation
from theory.reduction.h2_refit import h2_refit, h2_refit_both
from theory.reduction.modal_truncation import modal_truncation
from theory.systems.realization import dense
from theory.systems.system import StateSpace

KINDS = {
    "standard form": {},
    "S5": {"delay": 0},
    "S5 bidirectional": {"delay": 0, "delay_reverse": 0, "two_ways": True},
    "S4D bidirectional": {"delay": 0, "delay_reverse": 1, "two_ways": True, "batch": (2,), "m": 1, "p": 1},
    "complex": {"conjugate_pairs": False, "delay": 0},
    "complex bidirectional": {"conjugate_pairs": False, "delay": 0, "delay_reverse": 0, "two_ways": True},
    "real poles": {"kind": "real"},
    "continuous": {"discrete": False},
    "continuous complex": {"discrete": False, "conjugate_pairs": False},
}


def system_of(kind, seed=1):
    return diagonal(seed, closest=3e-2, **KINDS[kind])


def energy(system, reduced):
    """Of the error, every channel's: the mean over 2^12 points of the circle, whose aliasing dies with the poles."""
    omega = 2 * np.pi * np.arange(4096) / 4096
    found = []
    for one, other in zip(members(system), members(reduced), strict=True):
        if one.is_discrete:
            gap = response(one, omega) - response(other, omega)
            found.append((np.abs(gap) ** 2).sum(axis=(1, 2)).mean())
            continue
        first, second = dense(one), dense(other)
        A, B = scipy.linalg.block_diag(first.A, second.A), np.vstack([first.B, second.B])
        C = np.hstack([first.C, -second.C])
        P = scipy.linalg.solve_continuous_lyapunov(A, -B @ B.conj().T)
        found.append(np.trace(C @ P @ C.conj().T).real)
    return np.array(found)


@pytest.mark.parametrize("start", [balanced_truncation, "modal"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_other_output_has_less_energy(kind, start):
    """A quadratic: equal on both sides of its minimum in every direction, and larger there."""
    system, rng = system_of(kind), np.random.default_rng(2)
    first = modal_truncation(system, [0, 3, 4]).system if start == "modal" else start(system, 3).system
    found = h2_refit(system, first)
    assert np.array_equal(found.poles, first.poles)
    assert np.array_equal(found.B, first.B)
    assert np.array_equal(found.D, first.D)
    least, before = energy(system, found), energy(system, first)
    assert np.all(least <= before * (1 + 1e-12))
    if start == "modal":
        assert np.any(least < 0.99 * before)
    for _ in range(4):
        move = 1e-2 * gaussian(rng, *found.C.shape) * np.abs(found.C).max()
        back = None if found.C_reverse is None else 1e-2 * gaussian(rng, *found.C.shape) * np.abs(found.C_reverse).max()
        sides = []
        for sign in (1, -1):
            reverse = None if back is None else found.C_reverse + sign * back
            sides.append(energy(system, found.replace(C=found.C + sign * move, C_reverse=reverse)))
        assert np.all(sides[0] >= least)
        assert np.abs(sides[0] - sides[1]).max() <= 1e-6 * np.max(sides[0] - least) + 1e-10 * np.max(least)


SQUARE = ["standard form", "S5", "S5 bidirectional", "S4D bidirectional", "complex", "complex bidirectional"]
"""In discrete time; with as many outputs as inputs, D has a diagonal."""


def square(kind, seed=5):
    return diagonal(seed, closest=3e-2, **{"m": 2, "p": 2} | KINDS[kind])


@pytest.mark.parametrize("kept", [[0, 3, 4], []])
@pytest.mark.parametrize("kind", SQUARE)
def test_no_other_output_and_diagonal_of_d_have_less_energy(kind, kept):
    system, rng = square(kind), np.random.default_rng(6)
    first = modal_truncation(system, kept).system
    found, plain = h2_refit(system, first, feedthrough=True), h2_refit(system, first)
    assert np.array_equal(found.poles, first.poles)
    assert np.array_equal(found.B, first.B)
    eye = np.eye(2 if system.m == 2 else 1)
    assert np.array_equal(found.D * (1 - eye), first.D * (1 - eye))
    least = energy(system, found)
    assert np.all(least <= energy(system, plain) * (1 + 1e-12))
    for _ in range(4):
        move = 1e-2 * gaussian(rng, *found.C.shape) * np.abs(found.C).max(initial=0)
        reverse = found.C_reverse
        back = None if reverse is None else 1e-2 * gaussian(rng, *reverse.shape) * np.abs(reverse).max(initial=0)
        step = 1e-2 * rng.standard_normal(found.D.shape) * eye
        sides = []
        for sign in (1, -1):
            reverse = None if back is None else found.C_reverse + sign * back
            other = found.replace(C=found.C + sign * move, C_reverse=reverse, D=found.D + sign * step)
            sides.append(energy(system, other))
        assert np.all(sides[0] >= least)
        assert np.abs(sides[0] - sides[1]).max() <= 1e-6 * np.max(sides[0] - least) + 1e-10 * np.max(least)


def test_no_states_at_all():
    """D alone is left to fit; and of nothing the best output is none."""
    system = square("S5")
    found, plain = (reduce(system, 0, method=f"refit(feedthrough={free})") for free in (True, False))
    assert found.order == 0
    assert energy(system, found.system) < 0.99 * energy(system, plain.system)
    nothing = system.keep([])
    assert energy(nothing, h2_refit(nothing, system)) <= 1e-20 * energy(nothing, system)


def test_d_gains_where_the_present_sample_is_seen_and_only_there():
    gains = {}
    for kind in ("standard form", "S5"):
        system = square(kind)
        first = modal_truncation(system, [0, 3, 4]).system
        found = h2_refit(system, first, feedthrough=True)
        gains[kind] = energy(system, h2_refit(system, first))[0] / energy(system, found)[0]
        assert np.array_equal(found.D, first.D) == (kind == "standard form")
    assert gains["S5"] > 1.01
    assert gains["standard form"] == pytest.approx(1, abs=1e-12)


def test_d_is_fitted_of_square_diagonal_systems_in_discrete_time():
    for system in (system_of("S5"), diagonal(5, discrete=False, m=2, p=2), dense(square("standard form"))):
        with pytest.raises(InputError, match="diagonal of D"):
            h2_refit(system, system, feedthrough=True)
    with pytest.raises(InputError, match="no diagonal"):
        reduce(system_of("S5"), 2, method="refit(feedthrough=True)")
    with pytest.raises(InputError, match="continuous time"):
        reduce(diagonal(5, discrete=False, m=2, p=2), 2, method="refit(feedthrough=True)")
    with pytest.raises(InputError, match="not refitted together"):
        Refit(both=True, feedthrough=True)


@pytest.mark.parametrize("discrete", [True, False])
def test_dense_systems_get_the_output_of_their_diagonal_form(discrete):
    system = dense(diagonal(4, closest=3e-2, discrete=discrete, n=4))
    first = balanced_truncation(system, 3).system
    found = h2_refit(system, first)
    assert isinstance(found, StateSpace)
    for move in np.eye(9).reshape(9, 3, 3)[:, : system.p]:
        sides = [
            energy_of(system, StateSpace(found.A, found.B, found.C + step * move, found.D, dt=found.dt))
            for step in (1e-2, 0.0, -1e-2)
        ]
        assert sides[1] <= min(sides[0], sides[2])
        assert abs(sides[0] - sides[2]) <= 1e-6 * (sides[0] - sides[1])


def energy_of(system, reduced):
    A, B = scipy.linalg.block_diag(system.A, reduced.A), np.vstack([system.B, reduced.B])
    C = np.hstack([system.C, -reduced.C])
    if system.is_discrete:
        P = scipy.linalg.solve_discrete_lyapunov(A, B @ B.T)
    else:
        P = scipy.linalg.solve_continuous_lyapunov(A, -B @ B.T)
    return np.trace(C @ P @ C.T)


def test_the_method_says_what_it_starts_from():
    system = system_of("S5")
    for start in ("last", "modal", "random", "time_limited"):
        found = reduce(system, 3, method=f"refit(start={start!r})")
        first = reduce(system, 3, method=start)
        assert np.array_equal(found.system.poles, first.system.poles)
        assert energy(system, found.system) <= energy(system, first.system)
        assert start in found.guarantee
    for start in ("empirical", "refit", "residualized"):
        with pytest.raises(InputError, match="starts from"):
            reduce(system, 3, method=Refit(start=start))


def test_what_does_not_fit_is_refused():
    system = system_of("S5")
    with pytest.raises(InputError):
        h2_refit(system, dense(system))
    with pytest.raises(DimensionError):
        h2_refit(system, diagonal(2, m=1))


@pytest.mark.parametrize("start", ["balanced", "modal"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if "bidirectional" not in kind])
def test_neither_input_nor_output_alone_gains_more(kind, start):
    """Fitted in turns: no worse than C alone, poles kept, and at rest along both."""
    system, rng = system_of(kind), np.random.default_rng(4)
    first = modal_truncation(system, [0, 3, 4]).system if start == "modal" else balanced_truncation(system, 3).system
    one, found = h2_refit(system, first), h2_refit_both(system, first, rounds=400, least=1e-9)
    assert np.array_equal(found.poles, first.poles)
    assert np.array_equal(found.D, first.D)
    least = energy(system, found)
    assert np.all(least <= energy(system, one) * (1 + 1e-12))
    for field in ("B", "C"):
        for _ in range(3):
            move = 1e-3 * gaussian(rng, *getattr(found, field).shape) * np.abs(getattr(found, field)).max()
            sides = [energy(system, found.replace(**{field: getattr(found, field) + s * move})) for s in (1, -1)]
            assert np.all(np.minimum(*sides) >= least * (1 - 1e-6))


def test_both_through_the_api():
    system = system_of("standard form")
    plain, found = (reduce(system, 2, method=f"refit(start='modal', both={both})") for both in (False, True))
    assert energy(system, found.system) < energy(system, plain.system)
    assert found.error().lower <= found.bound
    whole = dense(system)
    other = reduce(whole, 4, method="refit(both=True)")
    assert energy(whole, other.system) <= energy(whole, reduce(whole, 4, method="refit").system) * (1 + 1e-12)
    with pytest.raises(InputError, match="shared"):
        reduce(system_of("S5 bidirectional"), 2, method="refit(both=True)")
    with pytest.raises(InputError, match="shared"):
        h2_refit_both(system_of("S5 bidirectional"), balanced_truncation(system_of("S5 bidirectional"), 2).system)
    with pytest.raises(InputError, match="H2 only"):
        Refit(norm="hinf", both=True)
