"""Hankel singular values: 60-digit references, invariances, and three other codes."""

import mpmath
import numpy as np
import pytest
from hankel_extended import extended_hankel_singular_values
from hypothesis import given
from strategies import POLE_KINDS, dense_systems, diagonal_systems, gaussian, stable_poles
from tolerance import tol

from theory.errors import AccuracyError, StabilityError
from theory.gramians.gramians import stacked_output
from theory.gramians.hankel import (
    balancing_factors,
    causal_hankel_singular_values,
    hankel_norm,
    hankel_singular_values,
)
from theory.systems.realization import dense, standard_form, with_conjugates
from theory.systems.simulation import impulse_response
from theory.systems.system import DiagonalStateSpace, StateSpace


def reference(system, digits=60):
    """Roots of the eigenvalues of PQ in many digits: the definition."""
    full = with_conjugates(system)
    n, discrete = full.n, full.is_discrete
    with mpmath.workdps(digits):
        l = [mpmath.mpc(z) for z in full.poles]
        B, C = mpmath.matrix(full.B.tolist()), mpmath.matrix(stacked_output(full).tolist())
        BB, CC = B * B.H, C.H * C
        P, Q = mpmath.matrix(n, n), mpmath.matrix(n, n)
        for i in range(n):
            for j in range(n):
                P[i, j] = BB[i, j] / (1 - l[i] * mpmath.conj(l[j]) if discrete else -l[i] - mpmath.conj(l[j]))
                Q[i, j] = CC[i, j] / (1 - mpmath.conj(l[i]) * l[j] if discrete else -mpmath.conj(l[i]) - l[j])
        values = mpmath.eig(P * Q, left=False, right=False)
        return np.array(sorted((float(mpmath.sqrt(abs(mpmath.re(v)))) for v in values), reverse=True))


@pytest.mark.parametrize("pairs", [True, False])
@pytest.mark.parametrize("channels", [(1, 1), (3, 2)])
@pytest.mark.parametrize("kind", ["spread", "near circle", "clustered", "real"])
def test_against_60_digits(rng, kind, channels, pairs):
    """1e-12 of sigma_1 is promised; the recursion reaches a few eps, at 1e-9 from the circle, too."""
    n = 5
    poles = stable_poles(rng, kind, (n,), 1e-9, True)
    system = DiagonalStateSpace(
        poles, gaussian(rng, n, channels[0]), gaussian(rng, channels[1], n), conjugate_pairs=pairs
    )
    wanted = reference(system)
    for closed_form_tol in (0.0, 1e-13):
        got = balancing_factors(system, closed_form_tol=closed_form_tol)[1]
        assert np.abs(got - wanted).max() <= 1e-13 * wanted[0]
    assert np.abs(hankel_singular_values(system) - wanted).max() <= 1e-13 * wanted[0]


@pytest.mark.parametrize("kind", ["spread", "near circle", "clustered", "real"])
def test_one_channel_in_continuous_time_against_60_digits(rng, kind):
    system = DiagonalStateSpace(
        stable_poles(rng, kind, (5,), 1e-9, False), gaussian(rng, 5, 1), gaussian(rng, 1, 5), dt=None
    )
    wanted = reference(system)
    left, hsv, right = balancing_factors(system)
    assert np.abs(hankel_singular_values(system) - wanted).max() <= 1e-14 * wanted[0]
    assert np.abs(hsv - wanted).max() <= 1e-14 * wanted[0]
    assert np.abs(left.T @ right - np.diag(hsv)).max() <= 1e-13 * np.linalg.norm(left) * np.linalg.norm(right)


@pytest.mark.parametrize("seed", range(4))
def test_the_closed_form_is_refused_where_it_is_wrong(seed):
    """Clusters whose scaled Gramians are nearly singular: the check must send these to the recursion."""
    rng = np.random.default_rng(seed)
    n, width = 6, 10.0 ** -(1 + seed)
    poles = (1 - 1e-3 * (1 + width * rng.uniform(-1, 1, n))) * np.exp(1j * (0.5 + 1e-3 * width * rng.uniform(-1, 1, n)))
    system = DiagonalStateSpace(poles, gaussian(rng, n, 2), gaussian(rng, 2, n))
    wanted = reference(system, 120)
    assert np.abs(hankel_singular_values(system) - wanted).max() <= 1e-13 * wanted[0]


def test_one_pole_by_hand():
    l, b, c = 0.5 + 0.5j, 2.0, 3.0 - 1j
    one = DiagonalStateSpace([l], [[b]], [[c]], conjugate_pairs=False)
    assert hankel_norm(one) == pytest.approx(abs(b * c) / (1 - abs(l) ** 2), rel=1e-15)
    analog = DiagonalStateSpace([-0.25 + 3j], [[b]], [[c]], conjugate_pairs=False, dt=None)
    assert hankel_norm(analog) == pytest.approx(abs(b * c) / 0.5, rel=1e-15)


@given(diagonal_systems(bidirectional=None, delay=None, closest=1e-9))
def test_invariant_under_scaling_of_the_modes(system):
    rng = np.random.default_rng(0)
    power = 2.0 ** rng.integers(-30, 30, system.n)
    reverse = None if system.C_reverse is None else system.C_reverse / power
    scaled = system.replace(B=system.B * power[:, None], C=system.C / power, C_reverse=reverse)
    before, after = hankel_singular_values(system), hankel_singular_values(scaled)
    assert np.abs(before - after).max() <= tol(2 * system.n) * before[0]


def amplification(system):
    """How far sigma_1 lies below what the modes could add up to: cancellation that no code can undo."""
    C = stacked_output(system)
    terms = np.linalg.norm(C, axis=-2) * np.linalg.norm(system.B, axis=-1) / system.margin
    return 2 * terms.sum() / max(hankel_singular_values(system)[0], 1e-300)


@given(diagonal_systems(bidirectional=None, delay=None, closest=1e-9))
def test_invariant_under_permutation_and_delay_is_ignored(system):
    before = hankel_singular_values(system)
    order = np.random.default_rng(1).permutation(system.n)
    room = tol(2 * system.n, amplification(system)) * before[0]
    assert np.abs(before - hankel_singular_values(system.keep(order))).max() <= room
    assert np.array_equal(before, hankel_singular_values(system.replace(delay=1, delay_reverse=1, D=None)))


@given(dense_systems(closest=1e-2))
def test_invariant_under_similarity(system):
    before = hankel_singular_values(system)
    Q, _ = np.linalg.qr(np.random.default_rng(2).standard_normal((system.n, system.n)))
    turned = StateSpace(Q @ system.A @ Q.T, Q @ system.B, system.C @ Q.T, system.D, dt=system.dt)
    margin = 1 - np.abs(system.poles).max() if system.is_discrete else -system.poles.real.max()
    condition = (1 + np.linalg.norm(system.A)) ** 2 / margin * 10
    assert np.abs(before - hankel_singular_values(turned)).max() <= tol(system.n, condition) * before[0]


@given(diagonal_systems(closest=1e-3, badly_scaled=False))
def test_diagonal_equals_dense(system):
    got, wanted = hankel_singular_values(system), hankel_singular_values(dense(system))
    assert np.abs(got - wanted).max() <= tol(2 * system.n, amplification(system) / system.margin.min()) * wanted[0]


@given(diagonal_systems(discrete=True, delay=None, closest=0.4, badly_scaled=False, max_n=4, max_io=2))
def test_they_are_the_singular_values_of_the_hankel_matrix(system):
    causal, half = standard_form(system), 80  # 0.6**80 is below eps
    taps = impulse_response(causal, 2 * half)[1:]
    p, m = system.p, system.m
    matrix = np.array([[taps[i + j] for j in range(half)] for i in range(half)])
    wanted = causal_hankel_singular_values(system)
    values = np.linalg.svd(matrix.transpose(0, 2, 1, 3).reshape(half * p, half * m), compute_uv=False)[: wanted.size]
    assert np.abs(values - wanted[: values.size]).max() <= tol(half, amplification(causal)) * max(wanted[0], 1e-300)
    assert hankel_norm(causal) == wanted[0]


@given(diagonal_systems(bidirectional=True, delay=None, closest=1e-3, badly_scaled=False))
def test_both_directions(system):
    """Nehari: the strictly causal part of either direction, and of the two the larger value, one by one."""
    values = causal_hankel_singular_values(system)
    one, other = (
        hankel_singular_values(
            system.replace(C=C if delay else C * system.poles, C_reverse=None, delay=1, delay_reverse=1, D=None)
        )
        for C, delay in ((system.C, system.delay), (system.C_reverse, system.delay_reverse))
    )
    room = tol(2 * system.n, amplification(system)) * max(one[0], other[0])
    assert np.abs(values - np.maximum(one, other)).max() <= room
    stacked = system.replace(C=np.vstack([system.C, system.C_reverse]), C_reverse=None, D=None)
    assert np.abs(hankel_singular_values(system) - hankel_singular_values(stacked)).max() <= room


def test_slycot_and_control_agree(rng):
    control = pytest.importorskip("control")
    pytest.importorskip("slycot")
    poles = -(10.0 ** rng.uniform(-2, 0, 4)) + 1j * rng.uniform(0, 5, 4)
    system = DiagonalStateSpace(poles, gaussian(rng, 4, 2), gaussian(rng, 3, 4), dt=None)
    full = dense(system)
    theirs = control.hankel_singular_values(control.StateSpace(full.A, full.B, full.C, full.D))
    assert np.abs(hankel_singular_values(system) - theirs).max() <= 1e-7 * theirs[0]  # theirs: eigenvalues of PQ
    from slycot import ab09ad

    there = dense(system.replace(poles=np.exp(poles * 0.3), dt=1.0))
    found = ab09ad("D", "B", "N", 8, 2, 3, np.array(there.A, order="F"), np.array(there.B), np.array(there.C), 4)
    values = next(x for x in found if getattr(x, "shape", None) == (8,) and np.all(np.diff(x) <= 0))
    assert np.abs(hankel_singular_values(there) - values).max() <= tol(8, 1e3) * values[0]


def test_batch_and_static():
    batch = DiagonalStateSpace(np.full((2, 3), 0.5), np.ones((2, 3, 1)), np.ones((2, 1, 3)))
    assert hankel_singular_values(batch).shape == (2, 6)
    assert hankel_norm(batch).shape == (2,)
    assert hankel_norm(StateSpace([], [], [], [[3.0]])) == 0.0
    assert hankel_singular_values(StateSpace([], [], [], [[3.0]])).shape == (0,)


@pytest.mark.parametrize("kind", POLE_KINDS)
def test_repeated_modes_have_low_rank(rng, kind):
    """Two copies of one mode are one state: the second Hankel value is zero to working accuracy."""
    pole = stable_poles(rng, kind, (1,), 1e-9, True)
    system = DiagonalStateSpace(np.repeat(pole, 2), [[1.0], [2.0]], [[1.0, 1.0]], conjugate_pairs=False)
    values = hankel_singular_values(system)
    assert values[1] <= tol(2) * values[0]


@pytest.mark.parametrize("pole", [1.0, -1.2, 1j])
def test_unstable(pole):
    for function in (hankel_singular_values, causal_hankel_singular_values, hankel_norm, balancing_factors):
        with pytest.raises(StabilityError):
            function(DiagonalStateSpace([pole], [[1]], [[1]]))


@given(dense_systems(closest=1e-2))
def test_invariant_under_units(system):
    before = hankel_singular_values(system)
    units = 2.0 ** np.random.default_rng(3).integers(-40, 40, system.n)
    turned = StateSpace(
        system.A * units / units[:, None], system.B / units[:, None], system.C * units, system.D, dt=system.dt
    )
    margin = 1 - np.abs(system.poles).max() if system.is_discrete else -system.poles.real.max()
    condition = (1 + np.linalg.norm(system.A)) ** 2 / margin * 10
    assert np.abs(before - hankel_singular_values(turned)).max() <= tol(system.n, condition) * before[0]


@pytest.mark.parametrize("stored", [8, 64])
def test_the_values_of_a_layer_are_right_to_1e_12(stored: int, rng: np.random.Generator) -> None:
    """1e-12 of sigma_1 against 80-bit Gramians of the closed form."""
    margin, angle = 10.0 ** rng.uniform(-5, -1, stored), rng.uniform(0, 3, stored)
    B = rng.normal(size=(stored, 20)) + 1j * rng.normal(size=(stored, 20))
    C = rng.normal(size=(20, stored)) + 1j * rng.normal(size=(20, stored))
    system = DiagonalStateSpace((1 - margin) * np.exp(1j * angle), B * np.sqrt(margin)[:, None], C * np.sqrt(margin))
    exact, left_out = extended_hankel_singular_values(system)
    assert left_out**2 < 1e-20  # the reference is one
    assert np.abs(hankel_singular_values(system) - exact).max() <= 1e-12 * exact[0]


def test_gramians_that_overflow_are_an_error_of_ours() -> None:
    """Values scale with B: times 2^60 the values do, times 1e300 their squares are no float64 numbers."""
    system = DiagonalStateSpace([0.5 + 0.2j, 0.3], np.ones((2, 3)), np.ones((3, 2)))
    scaled = hankel_singular_values(system.replace(B=2.0**60 * system.B))
    assert np.array_equal(scaled, 2.0**60 * hankel_singular_values(system))
    with pytest.raises(AccuracyError, match="scale"):
        hankel_singular_values(system.replace(B=1e300 * system.B, C=1e300 * system.C))
