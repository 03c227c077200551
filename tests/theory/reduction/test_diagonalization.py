"""Back to a diagonal system: same transfer function, pairs kept paired, and a refusal past the limit."""

import numpy as np
import pytest
from hypothesis import given
from strategies import diagonal_systems
from tolerance import EPS, tol

from theory.errors import AccuracyError
from theory.reduction.diagonalization import diagonalize, rediagonalize
from theory.systems.realization import dense
from theory.systems.response import frequency_response
from theory.systems.system import StateSpace

OMEGA = np.linspace(-3, 3, 9)


@given(diagonal_systems(closest=1e-3, kinds=("spread", "real", "fast"), badly_scaled=False))
def test_same_transfer_function(system):
    rng = np.random.default_rng(5)
    full = dense(system)
    T = np.linalg.qr(rng.standard_normal((full.n, full.n)))[0]
    turned = StateSpace(T @ full.A @ T.T, T @ full.B, full.C @ T.T, full.D, dt=full.dt)
    found = diagonalize(turned, condition_limit=1e12)
    got = frequency_response(found.system, OMEGA)
    gap = np.linalg.norm(got - frequency_response(full, OMEGA), 2, axis=(1, 2)).max()
    z = np.exp(1j * OMEGA) if full.is_discrete else 1j * OMEGA
    near = max(np.linalg.norm(np.linalg.inv(x * np.eye(full.n) - full.A)) for x in z)
    evaluation = tol(full.n) * near**2 * np.linalg.norm(full.B) * np.linalg.norm(full.C) * found.condition
    assert gap <= found.perturbation + evaluation
    assert found.system.dt == full.dt
    assert found.system.delay == 1
    assert found.system.conjugate_pairs == full.is_real
    assert np.array_equal(found.system.D, full.D)


@given(diagonal_systems(closest=1e-2, kinds=("spread", "fast"), pairs=True, badly_scaled=False))
def test_pairs_are_stored_once_and_balanced(system):
    found = rediagonalize(dense(system), condition_limit=1e12)
    assert found.n == system.n
    assert np.all(found.poles.imag > 0)
    assert np.allclose(np.linalg.norm(found.B, axis=1), np.linalg.norm(found.C, axis=0), rtol=1e-12)


def test_real_poles_take_one_state_with_half_the_output():
    full = StateSpace(np.diag([0.5, -0.3]), [[1.0], [2.0]], [[3.0, 4.0]], dt=1.0)
    found = rediagonalize(full)
    assert found.n == 2
    assert np.isrealobj(found.poles.real)
    assert not found.B.imag.any()
    assert not found.C.imag.any()
    assert np.allclose(frequency_response(found, OMEGA), frequency_response(full, OMEGA), rtol=tol(2))


def test_jordan_blocks_are_refused():
    jordan = StateSpace([[0.5, 1.0], [0.0, 0.5]], [[1.0], [1.0]], [[1.0, 1.0]], dt=1.0)
    with pytest.raises(AccuracyError, match="order one lower") as caught:
        diagonalize(jordan)
    assert caught.value.condition > 1e8
    nearly = StateSpace([[0.5, 1.0], [0.0, 0.5 + 1e-6]], [[1.0], [1.0]], [[1.0, 1.0]], dt=1.0)
    assert 1e6 < diagonalize(nearly).condition < 1e8
    with pytest.raises(AccuracyError):
        diagonalize(nearly, condition_limit=1e5)


def test_repeated_poles_without_a_chain_are_fine():
    twice = StateSpace(0.5 * np.eye(3), np.eye(3), np.eye(3), dt=1.0)
    found = diagonalize(twice)
    assert found.condition == pytest.approx(3.0)
    assert found.perturbation <= 1e3 * EPS


def test_uncertainty_is_propagated():
    one = StateSpace([[0.5]], [[2.0]], [[3.0]], dt=1.0)
    known, vague = diagonalize(one), diagonalize(one, uncertainty=np.array([[1e-6]]))
    moved = StateSpace([[0.5 + 1e-6]], [[2.0]], [[3.0]], dt=1.0)
    gap = abs(frequency_response(moved, 0.0) - frequency_response(one, 0.0)).max()
    assert known.perturbation < gap
    assert gap == pytest.approx(vague.perturbation, rel=1e-3)


def test_empty_and_unstable():
    empty = diagonalize(StateSpace([], [], [], [[2.0]], dt=1.0))
    assert empty.system.n == 0
    assert empty.perturbation == 0.0
    assert diagonalize(StateSpace([[1.5]], [[1.0]], [[1.0]], dt=1.0)).perturbation == np.inf
