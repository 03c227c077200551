"""Weighted Gramians: integrals with the spectral density of the weight, and blocks of the cascade's Gramians."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st
from recorded_cases import KINDS, matrices, system
from spectral_cases import integrals, peaks, value
from strategies import diagonal_systems, gaussian
from tolerance import relative, tol

from theory.errors import AccuracyError, DimensionError, InputError, StabilityError, TimeBaseError
from theory.gramians.frequency_limited import frequency_limited_gramians
from theory.gramians.gramians import gramians
from theory.gramians.weighted import weighted_gramians
from theory.systems.realization import dense
from theory.systems.system import DiagonalStateSpace, StateSpace

CLOSEST = 1e-2


def weight(rng, p, m, n=3, *, real=True, dt=1.0):
    """A stable dense weight with p outputs and m inputs, poles not closer than 0.1."""
    T = rng.standard_normal((n, n)) if real else gaussian(rng, n, n)
    A = T / max(np.abs(np.linalg.eigvals(T)).max(), 1e-3) * 0.9
    if dt is None:
        A = A - np.eye(n)
    draw = rng.standard_normal if real else lambda shape: gaussian(rng, *shape)
    return StateSpace(A, draw((n, m)), draw((p, n)), draw((p, m)), dt=dt)


def members(item):
    return [(index, item[index] if index else item) for index in np.ndindex(item.batch_shape)]


def close(found, wanted, *systems):
    """What rounding of the resolvents, or of a Lyapunov equation, may differ by: eps over the margins."""
    margin = min(float(np.min(1 - np.abs(one.poles) if one.is_discrete else -one.poles.real)) for one in systems)
    return relative(found, wanted) <= tol(found.shape[-1] + 3, 1.0 / margin**2)


def any_system(**options):
    return st.one_of(
        diagonal_systems(bidirectional=None, delay=None, closest=CLOSEST, max_n=4, badly_scaled=False, **options),
        diagonal_systems(closest=CLOSEST, max_n=3, siso=True, batch=(2,), badly_scaled=False, **options),
    )


seeds = st.integers(0, 2**32 - 1)


@given(any_system(discrete=True), seeds)
def test_they_are_integrals_with_the_density_of_the_weight(item, seed):
    rng = np.random.default_rng(seed)
    real = item.is_real
    W, V = weight(rng, item.m, 2, real=real, dt=item.dt), weight(rng, 2, item.p, real=real, dt=item.dt)
    P, Q = weighted_gramians(item, W, V)

    def into(omega):
        gains = value(W, omega)
        return gains @ np.swapaxes(gains, -1, -2).conj()

    def out(omega):
        gains = value(V, omega)
        return np.swapaxes(gains, -1, -2).conj() @ gains

    for index, one in members(item):
        wanted = integrals(one, ((-np.pi, np.pi),), into, out, np.append(peaks(W), peaks(V)))
        assert close(P[index], wanted[0], one, W)
        assert close(Q[index], wanted[1], one, V)


@given(any_system(discrete=None).filter(lambda item: not item.is_bidirectional), seeds)
def test_they_are_blocks_of_the_gramians_of_the_cascades(item, seed):
    rng = np.random.default_rng(seed)
    real = item.is_real
    W, V = weight(rng, item.m, 2, real=real, dt=item.dt), weight(rng, 2, item.p, real=real, dt=item.dt)
    P, Q = weighted_gramians(item, W, V)
    solve = scipy.linalg.solve_discrete_lyapunov
    if not item.is_discrete:
        solve = lambda A, M: scipy.linalg.solve_continuous_lyapunov(A, -M)  # noqa: E731
    for index, one in members(item):
        A, B, C = matrices(one, one.C)
        n, nothing = len(A), np.zeros((len(A), W.n))
        before = np.block([[A, B @ W.C], [nothing.T, W.A]]), np.vstack([B @ W.D, W.B])
        after = np.block([[A, nothing], [V.B @ C, V.A]]), np.hstack([V.D @ C, V.C])
        wanted = solve(before[0], before[1] @ before[1].conj().T)
        assert close(P[index], wanted[:n, :n], one, W)
        wanted = solve(after[0].conj().T, after[1].conj().T @ after[1])
        assert close(Q[index], wanted[:n, :n], one, V)


@given(any_system(), st.floats(-0.9, 0.9), st.floats(0.1, 10.0))
def test_an_all_pass_weight_changes_nothing_and_a_gain_scales(item, a, gain):
    exact = gramians(item)
    if item.is_discrete:
        all_pass = StateSpace(a, 1, 1 - a**2, -a, dt=item.dt)
    else:
        all_pass = StateSpace(-1 - a, 1, 2 * (1 + a), -1)
    constant = StateSpace([], [], [], [[gain]], dt=item.dt)
    for one, factor in ((all_pass, 1.0), (constant, gain**2)):
        for found, wanted in zip(weighted_gramians(item, one, one), exact, strict=True):
            assert close(found, factor * wanted, *(system for _, system in members(item)), all_pass)


@given(any_system(), seeds)
def test_one_number_stands_for_every_channel(item, seed):
    rng = np.random.default_rng(seed)
    one = weight(rng, 1, 1, dt=item.dt)

    def repeated(k):
        return StateSpace(*(np.kron(np.eye(k), X) for X in (one.A, one.B, one.C, one.D)), dt=one.dt)

    found, wanted = weighted_gramians(item, one, one), weighted_gramians(item, repeated(item.m), repeated(item.p))
    for a, b in zip(found, wanted, strict=True):
        assert close(a, b, *(system for _, system in members(item)), one)


@given(any_system(), st.floats(0.0, 10.0), st.floats(0.1, 10.0))
def test_densities_are_sums_of_bands_and_a_flat_one_is_white(item, low, high):
    top = np.pi if item.is_discrete else np.inf
    edges, values = (0.2, 0.7, 1.5, top), (low, 0.0, high)
    into, out = weighted_gramians(item, (edges, values)), weighted_gramians(item, out=(list(edges), np.array(values)))
    parts = [frequency_limited_gramians(item, band) for band in ((0.2, 0.7), (1.5, top))]
    for side, (found, other) in enumerate((into, out[::-1])):
        wanted = low * parts[0][side] + high * parts[1][side]
        assert close((found, other)[0], wanted, *(system for _, system in members(item)))
    exact = gramians(item)
    assert np.array_equal(into[1], exact[1])
    assert np.array_equal(out[0], exact[0])
    white = weighted_gramians(item, ((0.0, top), (1.0,)), ((0.0, top), (1.0,)))
    for found, wanted in zip(white, exact, strict=True):
        assert close(found, wanted, *(system for _, system in members(item)))


@pytest.mark.parametrize("kind", KINDS)
def test_they_have_the_kind_of_the_system(kind):
    item = system(kind)
    one = weight(np.random.default_rng(0), 1, 1)
    for found, whole in zip(weighted_gramians(item, one, one), gramians(item), strict=True):
        assert (found.shape, found.dtype) == (whole.shape, whole.dtype)


def test_a_diagonal_system_is_a_weight_too():
    item = system("S5")
    one = weight(np.random.default_rng(0), 1, 1)
    twin = DiagonalStateSpace([0.5 + 0.2j], [[1.0]], [[0.3 + 1j]], [[0.2]])
    both = weighted_gramians(item, twin, one), weighted_gramians(item, dense(twin), one)
    for found, wanted in zip(*both, strict=True):
        assert np.array_equal(found, wanted)


def test_what_is_no_weight_is_refused():
    item, rng = system("S5"), np.random.default_rng(0)
    wrong = (
        ((0.0, 1.0), (1.0, 2.0)), ((0.0,), ()), (1.0,), ("ab", "c"), 3.0, "low",
        ((0.0, 1.0), (-1.0,)), ((0.0, 1.0), (0.0,)), ((0.0, 1.0), (np.inf,)),
        ((1.0, 0.0), (1.0,)), ((0.0, 4.0), (1.0,)), ((0.0, np.nan), (1.0,)),
    )  # fmt: skip
    for no_weight in wrong:
        with pytest.raises(InputError, match=r"spectral density|weight|band"):
            weighted_gramians(item, no_weight)
        with pytest.raises(InputError, match=r"spectral density|weight|band"):
            weighted_gramians(item, out=no_weight)
    with pytest.raises(DimensionError, match="2 outputs"):
        weighted_gramians(item, weight(rng, 3, 2))
    with pytest.raises(DimensionError, match="2 inputs"):
        weighted_gramians(item, out=weight(rng, 2, 3))
    with pytest.raises(InputError, match="must be real"):
        weighted_gramians(item, weight(rng, 2, 2, real=False))
    for dt in (None, 0.5):
        with pytest.raises(TimeBaseError):
            weighted_gramians(item, weight(rng, 2, 2, dt=dt))
    for nothing in (
        StateSpace([], [], [], 0.0, dt=1.0),
        StateSpace(0.5, 0, 1, 0, dt=1.0),
        StateSpace(0.5, 1, 0, 0, dt=1.0),
    ):
        with pytest.raises(InputError, match="zero everywhere"):
            weighted_gramians(item, nothing)
    for huge in (StateSpace([], [], [], 1e200, dt=1.0), ((0.0, 1.0), (1e308,))):
        for weights in ((huge, None), (None, huge)):
            with pytest.raises(AccuracyError, match="scale the weights down"):
                weighted_gramians(item.replace(B=1e3 * item.B, C=1e3 * item.C), *weights)
    with pytest.raises(StabilityError):
        weighted_gramians(item, StateSpace(1.0, 1, 1, 0, dt=1.0))
