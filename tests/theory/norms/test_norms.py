"""Laws of the norms as brackets: what is attained, what is proved, what does not change them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import dense_systems, diagonal_systems, gaussian
from tolerance import tol

from theory.errors import DimensionError, InputError, StabilityError, TimeBaseError
from theory.norms import error_norm, hinf_norm, linf_norm
from theory.norms.bracket import Bracket
from theory.systems.realization import dense, with_conjugates
from theory.systems.system import DiagonalStateSpace, StateSpace, System

sys.path.insert(0, str(Path(__file__).parents[1]))
from attack_norms import fast_gains, frequencies
from reference.gains import exact_gain

EVERY = diagonal_systems(bidirectional=None, delay=None, closest=1e-9)
SEEDS = st.integers(0, 2**32 - 1)


def assert_true_bracket(system: System, bracket: Bracket, *, exact: int = 2, count: int = 200) -> None:
    """No gain of any frequency above, and the witness attains the lower end, in 50 digits and without tolerance."""
    rng = np.random.default_rng(0)
    x = frequencies(rng, system, float(bracket.frequency), count)
    top = x[np.argsort(fast_gains(system, x))[::-1][:exact]]
    assert max(exact_gain(system, float(w)) for w in top) <= bracket.upper
    assert exact_gain(system, float(bracket.frequency)) >= bracket.lower


def same(first: Bracket, second: Bracket) -> bool:
    """Whether two brackets can hold the same number."""
    return bool(max(first.lower, second.lower) <= min(first.upper, second.upper))


@given(EVERY)
def test_the_bracket_of_a_diagonal_system_holds_every_gain(system: DiagonalStateSpace) -> None:
    assert_true_bracket(system, linf_norm(system) if system.is_bidirectional else hinf_norm(system))


@given(dense_systems(closest=1e-6))
def test_the_bracket_of_a_dense_system_holds_every_gain(system: StateSpace) -> None:
    assert_true_bracket(system, hinf_norm(system))


def assert_as_close_as_rounding_allows(system: DiagonalStateSpace, bracket: Bracket) -> None:
    """Closed to rtol, but for the rounding of what the modes add up to; and the status says which."""
    both = system.C if system.C_reverse is None else np.vstack([system.C, system.C_reverse])
    gains = np.linalg.norm(both, axis=0) * np.linalg.norm(system.B, axis=1) / system.margin
    total = 2.0 * gains.sum() + np.linalg.norm(system.D)
    assert bracket.upper - bracket.lower <= 1e-8 * bracket.lower + tol(2 * system.n) * total
    assert (bracket.status == "closed") == (bracket.upper <= bracket.lower * (1 + 1e-8))
    assert bracket.status == "closed" or total > 1e4 * bracket.lower


@given(diagonal_systems(bidirectional=None, delay=None, closest=1e-9, badly_scaled=None))
def test_diagonal_brackets_close(system: DiagonalStateSpace) -> None:
    assert_as_close_as_rounding_allows(system, hinf_norm(system))


@pytest.mark.parametrize("exponent", [2, 4, 6, 8, 10, 12])
def test_modes_that_cancel_leave_no_more_open_than_their_rounding(exponent: int, rng: np.random.Generator) -> None:
    pole = 0.99 * np.exp(0.5j)
    b, c = gaussian(rng, 1, 2), gaussian(rng, 2, 1)
    poles = np.array([pole, pole * (1 + 10.0**-exponent)])
    system = DiagonalStateSpace(poles, np.vstack([b, b]), np.hstack([c, -c]), conjugate_pairs=False)
    bracket = hinf_norm(system)
    assert_true_bracket(system, bracket)
    assert_as_close_as_rounding_allows(system, bracket)


@given(diagonal_systems(delay=None, closest=1e-6), SEEDS, st.floats(1e-6, 1e6))
def test_permutation_rescaling_unitary_maps_and_factors(system: DiagonalStateSpace, seed: int, factor: float) -> None:
    rng = np.random.default_rng(seed)
    norm = hinf_norm(system)
    order = rng.permutation(system.n)
    assert same(norm, hinf_norm(system.keep(order)))
    power = 2.0 ** rng.integers(-20, 20, system.n)
    assert same(norm, hinf_norm(system.replace(B=system.B * power[:, None], C=system.C / power)))
    exponent = 2.0 ** np.round(np.log2(factor))
    scaled = hinf_norm(system.replace(C=system.C * exponent, D=system.D * exponent))
    assert same(norm.scaled(exponent), scaled)
    flip, swap = rng.permutation(system.p), rng.permutation(system.m)
    moved = system.replace(B=system.B[:, swap], C=-system.C[flip], D=-system.D[flip][:, swap])
    assert same(norm, hinf_norm(moved))


@given(dense_systems(closest=1e-3), SEEDS)
def test_similarity_and_unitary_maps_of_dense_systems(system: StateSpace, seed: int) -> None:
    rng = np.random.default_rng(seed)
    T = np.linalg.qr(rng.normal(size=(system.n, system.n)))[0]
    U, V = (np.linalg.qr(gaussian(rng, k, k))[0] for k in (system.p, system.m))
    moved = StateSpace(T @ system.A @ T.T, T @ system.B @ V, U @ system.C @ T.T, U @ system.D @ V, dt=system.dt)
    first, second = hinf_norm(system), hinf_norm(moved)
    # the moved system is another one by rounding: its norm moves by eps times the condition of the poles
    slack = 1e-9 * first.upper
    assert first.lower - slack <= second.upper
    assert second.lower - slack <= first.upper


@given(diagonal_systems(delay=None, closest=1e-4, badly_scaled=False))
def test_duality_and_conjugation(system: DiagonalStateSpace) -> None:
    norm = hinf_norm(system)
    dual = system.replace(B=np.swapaxes(system.C, -1, -2), C=np.swapaxes(system.B, -1, -2), D=system.D.T)
    assert same(norm, hinf_norm(dual))
    mirrored = system.replace(poles=system.poles.conj(), B=system.B.conj(), C=system.C.conj(), D=system.D.conj())
    assert same(norm, hinf_norm(mirrored))


@given(diagonal_systems(discrete=True, delay=None, closest=1e-3, badly_scaled=False))
def test_the_other_forms_of_one_system(system: DiagonalStateSpace) -> None:
    norm = hinf_norm(system)
    assert same(norm, hinf_norm(with_conjugates(system)))
    other = hinf_norm(dense(system))
    assert abs(other.lower - norm.lower) <= 1e-7 * norm.upper


@given(diagonal_systems(discrete=False, pairs=False, closest=1e-3, badly_scaled=False))
def test_the_bilinear_transformation_keeps_the_norm(system: DiagonalStateSpace) -> None:
    # s = (z-1)/(z+1): C (sI-L)^{-1} B + D = sqrt2 C (I-L)^{-1} (zI-M)^{-1} sqrt2 (I-L)^{-1} B + D + C (I-L)^{-1} B
    inverse = 1 / (1 - system.poles)
    moved = DiagonalStateSpace(
        (1 + system.poles) * inverse,
        np.sqrt(2) * inverse[:, None] * system.B,
        np.sqrt(2) * system.C * inverse,
        system.D + (system.C * inverse) @ system.B,
        conjugate_pairs=False,
    )
    first, second = hinf_norm(system), hinf_norm(moved)
    assert abs(first.lower - second.lower) <= 1e-7 * first.upper


@pytest.mark.parametrize("pole", [0.5, -0.9, 1 - 1e-9, 0.3 + 0.8j, 0.0])
def test_an_all_pass_system_has_norm_one(pole: complex) -> None:
    # (1 - conj(l) z)/(z - l) = -conj(l) + (1-|l|^2)/(z-l)
    system = DiagonalStateSpace([pole], [[1.0]], [[1 - abs(pole) ** 2]], [[-np.conj(pole)]], conjugate_pairs=False)
    bracket = hinf_norm(system)
    assert bracket.upper <= 1 + 3e-8  # the float64 data are all-pass to 1e-16 / 1e-9 at worst
    assert bracket.lower >= 1 - 3e-8
    assert exact_gain(system, bracket.frequency) >= bracket.lower


def test_static_zero_and_empty_systems() -> None:
    D = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 7.0]])
    bracket = hinf_norm(StateSpace([], [], [], D))
    assert bracket.lower <= np.linalg.norm(D, 2) * (1 + 1e-15)
    assert bracket.upper >= np.linalg.norm(D, 2) * (1 - 1e-15)
    assert bracket.status == "closed"
    zero = DiagonalStateSpace([0.5], np.zeros((1, 2)), np.ones((3, 1)))
    assert (hinf_norm(zero).lower, hinf_norm(zero).upper) == (0.0, 0.0)
    nothing = DiagonalStateSpace(np.zeros(0), np.zeros((0, 2)), np.zeros((3, 0)), np.zeros((3, 2)))
    assert hinf_norm(nothing).upper == 0.0
    no_output = DiagonalStateSpace([0.5], np.ones((1, 2)), np.zeros((0, 1)))
    assert hinf_norm(no_output).upper == 0.0
    assert hinf_norm(StateSpace(0.5 * np.eye(2), np.zeros((2, 0)), np.ones((1, 2)), dt=1.0)).upper == 0.0
    assert (
        hinf_norm(StateSpace(0.5 * np.eye(2), np.zeros((2, 1)), np.ones((1, 2)), [[-3.0]], dt=1.0)).lower >= 3 - 1e-12
    )


@given(EVERY)
def test_a_system_minus_itself_is_zero(system: DiagonalStateSpace) -> None:
    assert error_norm(system, system).upper == 0.0
    if not system.is_bidirectional:
        written = dense(system)
        assert error_norm(written, written).upper == 0.0


@given(diagonal_systems(bidirectional=None, delay=None, closest=1e-9), SEEDS)
def test_the_error_of_modal_truncation_is_the_removed_part(system: DiagonalStateSpace, seed: int) -> None:
    kept = np.random.default_rng(seed).random(system.n) < 0.5
    error = error_norm(system, system.keep(kept))
    removed = hinf_norm(system.keep(~kept).replace(D=None))
    assert (error.lower, error.upper) == (removed.lower, removed.upper)


@given(dense_systems(discrete=True, closest=1e-2), diagonal_systems(discrete=True, closest=1e-2, badly_scaled=False))
def test_the_difference_obeys_the_triangle_inequality(first: StateSpace, second: DiagonalStateSpace) -> None:
    if (first.p, first.m) != (second.p, second.m):
        with pytest.raises(DimensionError):
            error_norm(first, second)
        return
    error, a, b = error_norm(first, second), hinf_norm(first), hinf_norm(second)
    assert error.lower <= (a.upper + b.upper) * (1 + 1e-12)
    assert error.upper >= abs(a.lower - b.lower) * (1 - 1e-7)


def test_time_bases_must_agree() -> None:
    continuous = StateSpace([[-1.0]], [[1.0]], [[1.0]])
    with pytest.raises(TimeBaseError):
        error_norm(continuous, StateSpace([[0.5]], [[1.0]], [[1.0]], dt=1.0))
    with pytest.raises(TimeBaseError):
        error_norm(StateSpace([[0.5]], [[1.0]], [[1.0]], dt=2.0), DiagonalStateSpace([0.5], [[1.0]], [[1.0]], dt=1.0))


@pytest.mark.parametrize("pole", [1.0, -1.0, 1j, 0.6 + 0.8j, 1.5, 1 + 1e-15])
def test_unstable_and_boundary_poles_are_refused(pole: complex) -> None:
    system = DiagonalStateSpace([0.5, pole], np.ones((2, 1)), np.ones((1, 2)), conjugate_pairs=False)
    if system.margin[1] > 0:  # 0.6+0.8j in float64 may lie inside
        assert hinf_norm(system).lower > 1e14
        return
    with pytest.raises(StabilityError) as caught:
        hinf_norm(system)
    assert caught.value.poles[0] == pole
    bracket = linf_norm(system)
    assert bracket.upper == np.inf if system.margin[1] == 0 else bracket.upper < np.inf


def matrices_on_the_boundary() -> list[tuple[list[list[float]], float | None]]:
    return [
        ([[0.0]], None),
        ([[0.0, 1.0], [0.0, 0.0]], None),
        ([[0.0, 1.0], [-1.0, 0.0]], None),
        ([[-1.0, 1.0], [0.0, 0.0]], None),
        ([[1.0]], 1.0),
        ([[0.0, 1.0], [-1.0, 0.0]], 1.0),
        ([[1.0, 1.0], [0.0, 1.0]], 1.0),
    ]


@pytest.mark.parametrize(("A", "dt"), matrices_on_the_boundary())
def test_dense_poles_on_the_boundary(A: list[list[float]], dt: float | None) -> None:
    n = len(A)
    system = StateSpace(A, np.ones((n, 1)), np.ones((1, n)), dt=dt)
    with pytest.raises(StabilityError):
        hinf_norm(system)
    assert linf_norm(system).upper == np.inf


@given(dense_systems(closest=1e-2), st.floats(0.1, 2.0))
def test_linf_of_an_unstable_system_holds_every_gain(system: StateSpace, shift: float) -> None:
    A = system.A * (1 + shift) if system.is_discrete else system.A + shift * np.eye(system.n)
    margin = np.abs(1 - np.abs(np.linalg.eigvals(A))) if system.is_discrete else np.abs(np.linalg.eigvals(A).real)
    moved = StateSpace(A, system.B, system.C, system.D, dt=system.dt)
    bracket = linf_norm(moved)
    if margin.min() > 1e-3:
        assert np.isfinite(bracket.upper)
        assert_true_bracket(moved, bracket)


def test_a_bidirectional_layer_is_the_sum_of_both_directions(rng: np.random.Generator) -> None:
    poles = 0.95 * np.exp(1j * rng.uniform(0, np.pi, 5))
    B, C, R = gaussian(rng, 5, 2), gaussian(rng, 3, 5), gaussian(rng, 3, 5)
    for delay, delay_reverse in ((0, 0), (0, 1), (1, 0), (1, 1)):
        system = DiagonalStateSpace(poles, B, C, C_reverse=R, delay=delay, delay_reverse=delay_reverse)
        bracket = hinf_norm(system)
        assert_true_bracket(system, bracket)
        forward, backward = hinf_norm(system.replace(C_reverse=None)), hinf_norm(system.replace(C=R, C_reverse=None))
        assert bracket.lower <= forward.upper + backward.upper
        assert bracket.upper >= abs(forward.lower - backward.lower)


def test_a_loose_tolerance_gives_a_loose_bracket_that_is_true(rng: np.random.Generator) -> None:
    system = DiagonalStateSpace(0.9 * np.exp(1j * rng.uniform(0, np.pi, 4)), gaussian(rng, 4, 2), gaussian(rng, 2, 4))
    tight = hinf_norm(system)
    for rtol in (1e-1, 1e-3, 1e-5):
        loose = hinf_norm(system, rtol)
        assert loose.status == "closed"
        assert loose.upper <= loose.lower * (1 + rtol)
        assert loose.lower <= tight.upper
        assert tight.lower <= loose.upper


@pytest.mark.parametrize("rtol", [0.0, -1.0, np.nan, np.inf])
def test_a_tolerance_must_be_positive(rtol: float) -> None:
    with pytest.raises(InputError):
        hinf_norm(StateSpace([[0.5]], [[1.0]], [[1.0]], dt=1.0), rtol)


def test_mimo_batches_are_brackets_of_arrays(rng: np.random.Generator) -> None:
    poles = 0.9 * np.exp(1j * rng.uniform(0, np.pi, (2, 3, 4)))
    system = DiagonalStateSpace(poles, gaussian(rng, 2, 3, 4, 2), gaussian(rng, 2, 3, 2, 4))
    bracket = hinf_norm(system)
    assert bracket.lower.shape == bracket.upper.shape == bracket.frequency.shape == (2, 3)
    alone = hinf_norm(system[1, 2])
    assert (bracket.lower[1, 2], bracket.upper[1, 2]) == (alone.lower, alone.upper)


def test_python_control_is_never_above(rng: np.random.Generator) -> None:
    control = pytest.importorskip("control")
    pytest.importorskip("slycot")
    for n in (2, 5, 9):
        system = DiagonalStateSpace(
            (1 - 10.0 ** rng.uniform(-5, 0, n)) * np.exp(1j * rng.uniform(0, np.pi, n)),
            gaussian(rng, n, 2),
            gaussian(rng, 2, n),
        )
        written = dense(system)
        value, _ = control.linfnorm(control.ss(written.A, written.B, written.C, written.D, 1.0))
        bracket = hinf_norm(system)
        assert value <= bracket.upper * (1 + 1e-9)  # slycot's own rounding
        assert value >= bracket.lower * 0.9
