"""The output refitted in H-infinity: cvxpy solves the same convex problem on a grid, and both ends hold against it."""

from __future__ import annotations

import numpy as np
import pytest
from contract_cases import diagonal, measured_error, members, response
from strategies import gaussian

from ssmreduce import Refit, load, reduce, shipped_checkpoint
from ssmreduce.methods.registry import METHODS
from theory.errors import DimensionError, InputError, StabilityError
from theory.norms import error_norm
from theory.reduction.balanced_truncation import balanced_truncation
from theory.reduction.hinf_refit import hinf_refit
from theory.reduction.modal_truncation import modal_truncation
from theory.reduction.output_fit import OutputFit
from theory.systems.realization import dense
from theory.systems.system import DiagonalStateSpace

KINDS = {
    "standard form": {},
    "S5": {"delay": 0},
    "S5 bidirectional": {"delay": 0, "delay_reverse": 0, "two_ways": True},
    "S4D bidirectional": {"delay": 0, "delay_reverse": 1, "two_ways": True, "batch": (2,), "m": 1, "p": 1},
    "complex": {"conjugate_pairs": False, "delay": 0},
    "complex bidirectional": {"conjugate_pairs": False, "two_ways": True},
    "real poles": {"kind": "real"},
    "continuous": {"discrete": False},
}
SWEPT = 1e-6
"""What a sweep may miss of a peak, relative."""
NEAR = 0.03
"""What the refit leaves to the least error on these systems, at most: the Schatten norms are not the maximum."""


def system_of(kind, seed=3):
    return diagonal(seed, closest=3e-2, n=4, **KINDS[kind])


def square(kind, seed=3):
    return diagonal(seed, closest=3e-2, n=4, **{"m": 2, "p": 2} | KINDS[kind])


def start_of(system):
    return modal_truncation(system, [0, 2]).system


def best_on_a_grid(system, start, feedthrough=False):
    """By cvxpy: the outputs with the least largest gain over 60 frequencies, and that gain; the map by evaluation.

    With `feedthrough` the diagonal of D, too.
    """
    cvxpy = pytest.importorskip("cvxpy")
    ends = (0.01 if system.conjugate_pairs else -1.0) * np.pi, 0.99 * np.pi  # of pairs one half says everything
    omega = np.linspace(*ends, 60) if system.is_discrete else np.tan(np.linspace(*ends, 60) / 2)
    ways = 1 if start.C_reverse is None else 2
    shape = (ways * start.p, start.n)

    def at(C):
        return start.replace(C=C[: start.p], C_reverse=C[start.p :] if ways == 2 else None)

    nothing = at(np.zeros(shape, dtype=complex))
    fixed = response(system, omega) - response(nothing, omega)
    moves = []
    for unit in (1.0, 1j):
        for index in np.ndindex(shape):
            C = np.zeros(shape, dtype=complex)
            C[index] = unit
            moves.append(response(at(C), omega) - response(nothing, omega))
    outputs = len(moves)
    units = np.eye(start.p)[:, :, None] * np.eye(start.p)[:, None, :] if feedthrough else []
    moves += [np.broadcast_to(unit + 0j, fixed.shape) for unit in units]
    x, scale = cvxpy.Variable(len(moves)), np.abs(fixed).max()
    gains = []
    for k in range(omega.size):
        stacked = np.array([np.block([[g.real, -g.imag], [g.imag, g.real]]).ravel() for g in (m[k] for m in moves)])
        real = np.block([[fixed[k].real, -fixed[k].imag], [fixed[k].imag, fixed[k].real]]) / scale
        error = real - cvxpy.reshape(stacked.T @ x, real.shape, order="C")
        gains.append(cvxpy.sigma_max(error))
    problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.max(cvxpy.hstack(gains))))
    problem.solve(solver="CLARABEL", tol_gap_abs=1e-6, tol_gap_rel=1e-6, tol_feas=1e-6)
    values = scale * x.value
    half, D = outputs // 2, start.D
    D = D + np.diag(values[outputs:]) if feedthrough else D
    best = at((values[:half] + 1j * values[half:outputs]).reshape(shape))
    return best.replace(D=D), scale * problem.value


@pytest.mark.parametrize("feedthrough", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_no_output_is_better_than_the_lower_end_and_the_upper_is_near(kind, feedthrough):
    system = square(kind) if feedthrough else system_of(kind)
    start = start_of(system)
    found = hinf_refit(system, start, error_norm, feedthrough=feedthrough)
    for name in ("poles", "B"):
        assert np.array_equal(getattr(found.system, name), getattr(start, name))
    free = np.eye(system.p) if feedthrough else 0
    assert np.array_equal(found.system.D * (1 - free), start.D * (1 - free))
    ends = zip(*map(np.ravel, (found.lower, found.upper)), strict=True)
    for whole, first, last, (lower, upper) in zip(*map(members, (system, start, found.system)), ends, strict=True):
        other, on_the_grid = best_on_a_grid(whole, first, feedthrough)
        after, rival = measured_error(whole, last), measured_error(whole, other)
        assert after <= upper * (1 + SWEPT)
        assert on_the_grid * (1 - 1e-4) <= upper
        assert lower <= min(rival, after) * (1 + SWEPT)
        assert upper <= min(rival, measured_error(whole, first)) * (1 + NEAR)
        assert upper <= lower * (1 + NEAR)


@pytest.mark.parametrize("kind", KINDS)
def test_the_frequencies_see_the_peak(kind):
    """Backwards in time, too, where the modes of a complex system peak at the conjugate frequencies."""
    for seed in range(4):
        system = diagonal(seed, closest=1e-3, n=4, **KINDS[kind])
        start = start_of(system)
        for whole, first in zip(*map(members, (system, start)), strict=True):
            peak = OutputFit(whole, first, False).peak
            assert 0.9 * measured_error(whole, first) <= peak <= measured_error(whole, first) * (1 + SWEPT)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "S4D" not in kind])
def test_states_that_the_start_shares_count_at_many_ports(kind):
    """They cancel in the error of a selection, and its span has not their ports."""
    system = diagonal(3, closest=3e-2, n=4, **KINDS[kind] | {"m": 12, "p": 10})
    found = hinf_refit(system, start_of(system), error_norm)
    assert measured_error(system, found.system) <= found.upper * (1 + SWEPT)
    assert found.upper <= found.lower * (1 + NEAR)


@pytest.mark.parametrize("gap", [1e-2, 1e-5, 1e-8])
@pytest.mark.parametrize("options", [{}, {"conjugate_pairs": False}, {"dt": None}])
def test_poles_that_nearly_coincide_count(gap, options):
    """Outputs as large as the poles are near give another response: that of the whole is one of them."""
    pole = 0.8 * np.exp(0.7j) if "dt" not in options else -0.2 + 0.7j
    rest = 0.3 + 0.2j if "dt" not in options else -0.5 - 0.3j
    outputs = [[1 / gap, 1 - 1 / gap, 0.1]]
    whole = DiagonalStateSpace([pole, pole + 0.2 * gap, rest], np.ones((3, 1)), outputs, **options)
    kept = whole.keep([0, 1])
    found = hinf_refit(whole, kept.replace(C=np.ones((1, 2))), error_norm)
    assert found.lower <= measured_error(whole, kept) * (1 + SWEPT)
    assert found.upper <= found.lower * (1 + NEAR)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [5, 6])
def test_the_lower_end_holds_for_outputs_at_random(kind, seed):
    """Around the refitted one, where they come nearest, and anywhere."""
    system, rng = system_of(kind, seed), np.random.default_rng(seed)
    start = start_of(system)
    found = hinf_refit(system, start, error_norm, steps=10)
    size = np.abs(start.C).max()
    for spread in (1e-3, 1e-2, 1e-1, 1.0):
        move = spread * size * gaussian(rng, *start.C.shape)
        back = None if start.C_reverse is None else spread * size * gaussian(rng, *start.C.shape)
        reverse = None if back is None else found.system.C_reverse + back
        other = found.system.replace(C=found.system.C + move, C_reverse=reverse)
        for whole, one, lower in zip(*map(members, (system, other)), np.ravel(found.lower), strict=True):
            assert lower <= measured_error(whole, one) * (1 + SWEPT)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_never_worse_than_its_start(kind):
    system = system_of(kind, 7)
    start = balanced_truncation(system, 2).system
    found = hinf_refit(system, start, error_norm, steps=3)
    for whole, first, last in zip(*map(members, (system, start, found.system)), strict=True):
        assert measured_error(whole, last) <= measured_error(whole, first) * (1 + SWEPT)
    again = hinf_refit(system, found.system, error_norm, steps=1)
    assert np.all(np.asarray(again.upper) <= np.asarray(found.upper) * (1 + 2e-3))


def test_states_without_input_and_systems_without_error():
    system = diagonal(8, closest=3e-2, n=4)
    silent = system.replace(B=0 * system.B)
    found = hinf_refit(silent, modal_truncation(silent, [0]).system, error_norm)
    assert found.upper == 0
    assert found.gap == 0
    same = hinf_refit(system, system, error_norm)
    assert same.system is system
    half_driven = system.replace(B=system.B * np.array([1.0, 1.0, 0.0, 1e-9])[:, None])
    assert hinf_refit(half_driven, modal_truncation(half_driven, [0, 2]).system, error_norm).gap < NEAR


@pytest.mark.parametrize("kind", KINDS)
def test_no_states_at_all(kind):
    """D alone is left to fit; and of nothing the best output is none."""
    system = square(kind)
    nothing = modal_truncation(system, []).system
    found = hinf_refit(system, nothing, error_norm, feedthrough=True)
    ends = zip(*map(np.ravel, (found.lower, found.upper)), strict=True)
    for whole, first, last, (lower, upper) in zip(*map(members, (system, nothing, found.system)), ends, strict=True):
        other, _ = best_on_a_grid(whole, first, True)
        assert lower <= measured_error(whole, other) * (1 + SWEPT)
        assert measured_error(whole, last) <= upper * (1 + SWEPT)
        assert upper <= lower * (1 + NEAR)
    least = hinf_refit(nothing, system, error_norm)
    assert np.all(np.asarray(least.lower) == 0)
    assert np.all(np.asarray(least.upper) == 0)
    assert not np.any(least.system.C)


def test_a_trained_layer_through_the_api():
    layer = load(shipped_checkpoint("digits_s5")).layers[0]
    plain, found = reduce(layer, 8), reduce(layer, 8, method=Refit(norm="hinf"))
    assert np.array_equal(found.layer.B, plain.layer.B)
    before, after = (error_norm(layer.system, one.layer.system, 1e-3) for one in (plain, found))
    assert after.upper < 0.9 * before.lower  # 6.2 of 8.2
    assert "C refitted in H-infinity: at most 0.0" in found.diagnostics["summary"]
    assert 0 <= found.diagnostics["gap"] < NEAR
    assert METHODS.find("refit(norm='hinf')") == Refit(norm="hinf")
    assert "refit" in METHODS
    assert not METHODS.find("refit").searches
    assert METHODS.find("refit(norm='hinf')").searches


def test_what_cannot_be_refitted_is_refused():
    system = diagonal(9, closest=3e-2, n=4)
    start = modal_truncation(system, [0, 2]).system
    with pytest.raises(DimensionError, match="ports"):
        hinf_refit(system, modal_truncation(diagonal(9, closest=3e-2, n=4, p=2), [0]).system, error_norm)
    with pytest.raises(InputError, match="differ in D"):
        hinf_refit(system, start.replace(D=start.D + 1), error_norm)
    with pytest.raises(StabilityError):
        hinf_refit(system, start.replace(poles=1.5 * np.exp(1j * np.angle(start.poles))), error_norm)
    with pytest.raises(InputError, match="no diagonal"):
        reduce(dense(system), 2, method="refit(norm='hinf', feedthrough=True)")
    with pytest.raises(InputError, match="diagonal systems"):
        reduce(dense(square("S5")), 2, method="refit(norm='hinf', feedthrough=True)")
    with pytest.raises(InputError, match="'h2', 'hinf'"):
        Refit(norm="l1")


def test_the_diagonal_of_d_gains_in_the_worst_case():
    """At least what C alone does, and on this system a tenth more; D is on the layer that is written."""
    system = square("S5")
    start = start_of(system)
    alone, both = (hinf_refit(system, start, error_norm, feedthrough=free) for free in (False, True))
    assert both.upper < 0.95 * alone.lower
    found = reduce(system, 2, method="refit(start='modal', norm='hinf', feedthrough=True)")
    assert not np.array_equal(found.system.D, system.D)
    assert "C and D refitted" in found.diagnostics["summary"]
    with pytest.raises(InputError, match="no diagonal"):
        hinf_refit(system_of("S5"), start_of(system_of("S5")), error_norm, feedthrough=True)


@pytest.mark.parametrize("feedthrough", [False, True])
@pytest.mark.parametrize("kind", ["S5", "complex"])
def test_the_lower_end_holds_far_from_the_least_error(kind, feedthrough):
    """At the start, with D far off where it is free: gradients need the change that makes C and D drop out."""
    system = square(kind)
    start = start_of(system)
    problem = OutputFit(system, start, feedthrough)
    rival = measured_error(system, best_on_a_grid(system, start, feedthrough)[0])
    assert 0 < problem._dual(problem.start, problem.D + 3 * problem.peak) <= rival * (1 + SWEPT)
