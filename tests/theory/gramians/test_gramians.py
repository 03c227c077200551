"""Gramians: Stein and Lyapunov residuals, closed form = dense solver = SciPy, factors with relative accuracy."""

import mpmath
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from strategies import dense_systems, diagonal_systems
from tolerance import relative, tol

from theory.equations.lyapunov import diagonal_factor, triangular_factor
from theory.errors import StabilityError
from theory.gramians.gramians import gramian_factors, gramians, scaled_cholesky_factors, stacked_output
from theory.systems.realization import dense
from theory.systems.system import DiagonalStateSpace, StateSpace


def residual(A, X, B, discrete):
    """Residual of the equation of X over what its rounding is relative to."""
    if discrete:
        R = A @ X @ A.conj().T - X + B @ B.conj().T
        return np.linalg.norm(R) / (np.linalg.norm(X) * max(1, np.linalg.norm(A, 2) ** 2))
    R = A @ X + X @ A.conj().T + B @ B.conj().T
    return np.linalg.norm(R) / (2 * np.linalg.norm(X) * np.linalg.norm(A, 2))


def written(system):
    """The matrices whose Gramians are meant: (poles, B, C) as stored, delay and D ignored."""
    return dense(system.replace(delay=1, D=None, C=stacked_output(system), C_reverse=None))


@given(diagonal_systems(bidirectional=None, delay=None, closest=1e-9, badly_scaled=False))
def test_residuals_of_diagonal_systems(system):
    full = written(system)
    for X, A, B in zip(gramians(system), (full.A, full.A.conj().T), (full.B, full.C.conj().T), strict=True):
        assert residual(A, X, B, system.is_discrete) <= tol(full.n)
        assert np.allclose(X, X.conj().T, rtol=0, atol=tol(full.n) * np.abs(X).max())
        assert np.isrealobj(X) == system.conjugate_pairs


@given(dense_systems(closest=1e-6))
def test_residuals_of_dense_systems(system):
    Lc, Lo = gramian_factors(system)
    for L, A, B in zip((Lc, Lo), (system.A, system.A.conj().T), (system.B, system.C.conj().T), strict=True):
        assert residual(A, L @ L.conj().T, B, system.is_discrete) <= tol(system.n)
        assert np.isrealobj(L) == system.is_real


@given(diagonal_systems(bidirectional=None, delay=None, closest=1e-9))
def test_factors_are_factors(system):
    for X, L in zip(gramians(system), gramian_factors(system), strict=True):
        # entrywise relative to the diagonal: badly scaled modes keep their digits
        scale = np.sqrt(np.outer(X.diagonal().real, X.diagonal().real))
        half = np.sqrt(np.maximum(scale.diagonal(), 1e-300))
        if system.conjugate_pairs:  # Re x and Im x of one mode share a scale
            n = system.n
            half = np.tile(np.hypot(half[:n], half[n:]), 2)
        assert (np.abs(L @ L.conj().T - X) / np.outer(half, half)).max() <= tol(X.shape[0])


@given(diagonal_systems(closest=1e-3, badly_scaled=False))
def test_closed_form_equals_dense_solver(system):
    full = dense(system)
    for X, Y in zip(gramians(system), gramians(full), strict=True):
        assert relative(Y, X) <= tol(full.n, 1 / system.margin.min())


@given(dense_systems(closest=1e-2))
def test_dense_equals_scipy(system):
    P, Q = gramians(system)
    BB, CC = system.B @ system.B.conj().T, system.C.conj().T @ system.C
    if system.is_discrete:
        solve = scipy.linalg.solve_discrete_lyapunov
        wanted = solve(system.A, BB), solve(system.A.conj().T, CC)
        condition = 1 / (1 - np.abs(system.poles).max())
    else:
        solve = scipy.linalg.solve_continuous_lyapunov
        wanted = solve(system.A, -BB), solve(system.A.conj().T, -CC)
        condition = np.linalg.norm(system.A) / -system.poles.real.max()
    eigenvectors = np.linalg.norm(system.A) ** 2 + 1  # non-normality of the drawn similarity, squared in the Gramian
    assert relative(P, wanted[0]) <= tol(system.n, condition * eigenvectors * 100)
    assert relative(Q, wanted[1]) <= tol(system.n, condition * eigenvectors * 100)


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("spread", [1.0, 1e-3, 1e-9])
def test_factor_of_a_cluster_against_60_digits(rng, discrete, m, spread):
    """The Cholesky factor of a numerically singular Gramian, which no method that forms the Gramian can find."""
    n = 5
    centre = 1e-6 * (1 + 0.5 * rng.uniform(-1, 1, n) * min(spread, 0.9))
    angle = 0.8 + 1e-6 * spread * rng.uniform(-1, 1, n)
    poles = (1 - centre) * np.exp(1j * angle) if discrete else -centre + 1j * (angle - 0.8)
    G = rng.standard_normal((n, m)) + 1j * rng.standard_normal((n, m))
    L = diagonal_factor(poles, G, discrete)
    with mpmath.workdps(120):
        exact = [mpmath.mpc(z) for z in poles]
        GG = mpmath.matrix(G.tolist()) * mpmath.matrix(G.tolist()).H
        P = mpmath.matrix(n, n)
        for i in range(n):
            for j in range(n):
                gap = 1 - exact[i] * mpmath.conj(exact[j]) if discrete else -(exact[i] + mpmath.conj(exact[j]))
                P[i, j] = GG[i, j] / gap
        wanted = np.array(mpmath.cholesky(P).tolist(), dtype=complex)
    got = L * (np.abs(np.diag(L)) / np.diag(L))
    # one input: products of pole differences, right in every entry; more: in every column, relative to its row
    if m == 1:
        assert np.all(np.abs(got - wanted) <= tol(n) * np.abs(wanted))
    else:
        assert np.all(
            np.abs(got - wanted) <= tol(n, 1 / min(spread, 0.1)) * np.linalg.norm(wanted, axis=1, keepdims=True)
        )


@pytest.mark.parametrize("discrete", [True, False])
def test_blocks_do_not_matter(rng, discrete):
    n = 13
    poles = 0.9 * rng.uniform(0.2, 1, n) * np.exp(1j * rng.uniform(-3, 3, n)) - (0 if discrete else 1)
    G = rng.standard_normal((2, n, 3)) + 1j
    poles = np.stack([poles, poles[::-1]])
    one, many = diagonal_factor(poles, G, discrete, block=1), diagonal_factor(poles, G, discrete, block=5)
    assert relative(many, one) <= tol(n)
    for k in range(2):
        assert relative(diagonal_factor(poles[k], G[k], discrete), one[k]) <= tol(n)


@pytest.mark.parametrize("discrete", [True, False])
def test_triangular_recursion_on_a_diagonal_matrix(rng, discrete):
    n = 8
    poles = 0.9 * rng.uniform(0.2, 1, n) * np.exp(1j * rng.uniform(-3, 3, n)) - (0 if discrete else 1)
    G = rng.standard_normal((n, 3)) + 1j * rng.standard_normal((n, 3))
    one, other = diagonal_factor(poles, G, discrete), triangular_factor(np.diag(poles), G, discrete)
    assert relative(other @ other.conj().T, one @ one.conj().T) <= tol(n)


def test_scaled_cholesky_agrees_with_the_recursion(rng):
    n = 10
    poles = (1 - 10.0 ** rng.uniform(-4, -0.5, n)) * np.exp(1j * rng.uniform(-3, 3, n))
    B, C = rng.standard_normal((n, 4)), rng.standard_normal((4, n)) * 1j
    for pairs in (True, False):
        system = DiagonalStateSpace(poles, B, C, conjugate_pairs=pairs)
        found = scaled_cholesky_factors(system)
        assert found is not None
        for L, X in zip(found[:2], gramians(system), strict=True):
            assert relative(L @ L.conj().T, X) <= tol(2 * n)
    assert scaled_cholesky_factors(system.replace(B=0 * B)) is None


def test_batch_is_an_axis(rng):
    poles = 0.9 * np.exp(1j * rng.uniform(0, 3, (3, 2, 4)))
    B, C = rng.standard_normal((3, 2, 4, 2)), rng.standard_normal((3, 2, 3, 4))
    batch = DiagonalStateSpace(poles, B, C)
    for function in (gramians, gramian_factors):
        for whole, part in zip(function(batch), function(batch[1, 1]), strict=True):
            assert whole.shape == (3, 2, 8, 8)
            both = whole[1, 1] @ whole[1, 1].T, part @ part.T
            assert relative(*both) <= tol(8, 10)


def test_nothing_comes_of_nothing():
    quiet = DiagonalStateSpace([0.5, 0.5, 0.1j], np.zeros((3, 2)), np.ones((1, 3)))
    P, Q = gramians(quiet)
    Lc, Lo = gramian_factors(quiet)
    assert not P.any()
    assert not Lc.any()
    assert np.isfinite(Lo).all()
    assert relative(Lo @ Lo.T, Q) <= tol(6)
    empty = StateSpace([], [], [], [[1.0]])
    assert gramians(empty)[0].shape == (0, 0)
    no_input = StateSpace([[0.5]], np.zeros((1, 0)), [[1.0]], dt=1.0)
    assert gramian_factors(no_input)[0].tolist() == [[0.0]]


@pytest.mark.parametrize("pole", [1.0, 1.5])
def test_unstable(pole):
    for system in (DiagonalStateSpace([pole], [[1]], [[1]]), StateSpace([[pole]], [[1]], [[1]], dt=1.0)):
        for function in (gramians, gramian_factors):
            with pytest.raises(StabilityError):
                function(system)
