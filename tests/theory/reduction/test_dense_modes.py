"""Modes of dense systems: what is kept is their part of the partial fractions, in as many states as they take."""

from __future__ import annotations

import numpy as np
import pytest
from contract_cases import response

import ssmreduce
from theory.errors import AccuracyError, StabilityError
from theory.reduction.dense_modes import leading_modes, realized
from theory.reduction.diagonalization import diagonalize
from theory.systems.system import StateSpace


def mixed(seed, discrete=True, real=True):
    """A dense system with three real poles and two pairs, or complex ones, in coordinates of its own."""
    rng = np.random.default_rng(seed)
    blocks = np.zeros((7, 7), dtype=float if real else complex)
    blocks[:3, :3] = np.diag(rng.uniform(-0.9, 0.9, 3))
    for k in (3, 5):
        a, b = rng.uniform(-0.6, 0.6, 2)
        blocks[k : k + 2, k : k + 2] = [[a, -b], [b, a]]
    if not real:
        blocks = blocks * np.exp(0.3j)
    A = blocks if discrete else blocks - np.eye(7)
    T = np.linalg.qr(rng.standard_normal((7, 7)))[0] * np.exp(rng.uniform(-0.5, 0.5, 7))
    B, C = rng.standard_normal((7, 2)), rng.standard_normal((3, 7))
    dt = 0.5 if discrete else None
    return StateSpace(T @ A @ np.linalg.inv(T), T @ B, C @ np.linalg.inv(T), rng.standard_normal((3, 2)), dt=dt)


def fractions(system, chosen):
    """The response by partial fractions with NumPy's eigenvectors, over the poles that `chosen` says yes to."""
    poles, V = np.linalg.eig(system.A)
    left, right = system.C @ V, np.linalg.solve(V, system.B.astype(complex))
    omega = np.linspace(-3.0, 3.0, 41)
    z = np.exp(1j * omega) if system.is_discrete else 1j * omega
    total = np.broadcast_to(system.D, (omega.size, *system.D.shape)).astype(complex)
    for i, pole in enumerate(poles):
        if chosen(pole):
            total = total + np.outer(left[:, i], right[i]) / (z - pole)[:, None, None]
    return omega, total


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_kept_modes_are_their_partial_fractions(seed, real, discrete):
    system = mixed(seed, discrete, real)
    for order in range(1, 8):
        found = ssmreduce.reduce(system, order, method="modal")
        poles = found.diagnostics["poles"]
        every = np.concatenate([poles, poles.conj()]) if real else poles
        omega, wanted = fractions(system, lambda pole, every=every: np.abs(every - pole).min() < 1e-6)
        if order < 7:
            assert found.system.n == found.order <= order
        assert found.system.is_real == real
        assert np.abs(response(found.system, omega) - wanted).max() < 1e-9 * np.abs(wanted).max()


def test_a_pair_takes_two_states_and_smaller_modes_fill_what_is_left():
    modes = diagonalize(mixed(0)).system
    sizes = np.where(modes.poles.imag != 0, 2, 1)
    scores = np.arange(modes.n, 0, -1.0)
    for order in range(8):
        kept = leading_modes(modes, scores, order)
        room = order - sizes[kept].sum()
        gone = np.setdiff1d(np.arange(modes.n), kept)
        assert room >= 0
        assert np.all(sizes[gone] > room)
        for i in gone:  # what was left out found no room beside the better ones that were kept
            assert sizes[i] > order - sizes[kept[kept < i]].sum()
        assert realized(modes, kept).n == sizes[kept].sum()


def test_poles_that_cannot_be_told_apart_or_are_not_stable_are_refused():
    jordan = StateSpace(0.5 * np.eye(3) + np.eye(3, k=1), np.ones((3, 1)), np.ones((1, 3)), np.zeros((1, 1)), dt=1.0)
    with pytest.raises(AccuracyError, match="condition"):
        ssmreduce.reduce(jordan, 1, method="modal")
    unstable = StateSpace(np.diag([2.0, 0.5]), np.ones((2, 1)), np.ones((1, 2)), np.zeros((1, 1)), dt=1.0)
    with pytest.raises(StabilityError):
        ssmreduce.reduce(unstable, 1, method="last")
