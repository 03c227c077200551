"""The certificate at the edge: the lowest level that is accepted for a matrix P is proved by it, in 60 digits."""

from __future__ import annotations

import sys
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest

from theory.certificates.bounded_real import _checked
from theory.systems.system import StateSpace

sys.path.insert(0, str(Path(__file__).parents[1]))
from exact import DIGITS, draws, matrix, positive_definite


def drawn(rng: np.random.Generator, *, discrete: bool, real: bool) -> tuple[StateSpace, np.ndarray]:
    """A stable system in bad units, and a P that proves some level: of a Lyapunov equation with a little added."""

    def gaussian(*shape: int) -> np.ndarray:
        return rng.normal(size=shape) + (0.0 if real else 1j * rng.normal(size=shape))

    n = int(rng.integers(1, 4))
    A = gaussian(n, n)
    A = 0.9 * A / np.linalg.norm(A, 2) if discrete else A - (0.1 + np.linalg.norm(A, 2)) * np.eye(n)
    units = 10.0 ** rng.uniform(-3, 3, n)
    A, B, C = A * units[:, None] / units, gaussian(n, 1) * units[:, None], gaussian(2, n) / units
    added = np.diag(10.0 ** rng.uniform(-6, 0) / units**2)
    right, eye = (C.conj().T @ C + added).reshape(-1), np.eye(n)
    if discrete:
        P = np.linalg.solve(np.eye(n * n) - np.kron(A.conj().T, A.T), right)
    else:
        P = np.linalg.solve(-np.kron(A.conj().T, eye) - np.kron(eye, A.T), right)
    P = P.reshape(n, n)
    return StateSpace(A, B, C, gaussian(2, 1), dt=1.0 if discrete else None), 0.5 * (P + P.conj().T)


def proves(system: StateSpace, P: np.ndarray, gamma: float) -> bool:
    """Whether P is positive and M(P) negative definite, from the definition."""
    with mp.workdps(DIGITS):
        A, B, C, D, X = (matrix(x) for x in (system.A, system.B, system.C, system.D, P))
        n, m = system.n, system.m
        if system.is_discrete:
            blocks = A.H * X * A - X, A.H * X * B, B.H * X * B
        else:
            blocks = A.H * X + X * A, X * B, mp.zeros(m)
        M = mp.matrix(n + m, n + m)
        M[:n, :n] = -(blocks[0] + C.H * C)
        M[:n, n:] = -(blocks[1] + C.H * D)
        M[n:, :n] = M[:n, n:].H
        M[n:, n:] = mp.mpf(gamma) ** 2 * mp.eye(m) - blocks[2] - D.H * D
        return positive_definite(X) and positive_definite(M)


@pytest.mark.parametrize("discrete", [True, False], ids=["discrete", "continuous"])
@pytest.mark.parametrize("real", [True, False], ids=["real", "complex"])
def test_the_lowest_level_that_is_accepted_is_proved(discrete: bool, real: bool) -> None:
    accepted = 0
    for seed in range(draws(15)):
        rng = np.random.default_rng([seed, discrete, real])
        system, P = drawn(rng, discrete=discrete, real=real)
        T = np.diag(1.0 / np.sqrt(np.real(np.diag(P)))) @ (np.eye(system.n) + 0.1 * rng.normal(size=P.shape))

        def feasible(gamma: float) -> bool:
            smallest, largest, rounding = _checked(system, P, T, gamma)  # noqa: B023
            return smallest > rounding and largest < -rounding

        low, high = 0.0, 1e6
        if not feasible(high):  # what was added is below rounding
            continue
        while high - low > 4e-16 * high and low < 0.5 * (low + high) < high:
            middle = 0.5 * (low + high)
            low, high = (low, middle) if feasible(middle) else (middle, high)
        assert proves(system, P, high), seed
        assert not proves(system, P, 0.5 * high), seed  # nor is it far above
        accepted += 1
    assert accepted >= draws(8)
