"""Plain eigenvectors bracket the same error as refined ones, prove stability on the way, or say nothing."""

from __future__ import annotations

import numpy as np
import pytest

from theory.norms import error_norm, quick_error_norm
from theory.systems.system import StateSpace


def drawn(seed: int, n: int, *, discrete: bool, radius: float = 0.9) -> StateSpace:
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(n, n))
    poles = np.linalg.eigvals(A)
    A = A * radius / np.abs(poles).max() if discrete else A - (poles.real.max() + 1.0 - radius) * np.eye(n)
    return StateSpace(A, rng.normal(size=(n, 2)), rng.normal(size=(2, n)), dt=1.0 if discrete else None)


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_the_same_norm_and_close_above_it(seed: int, discrete: bool) -> None:
    G, Gr = drawn(seed, 9, discrete=discrete), drawn(seed + 50, 4, discrete=discrete)
    quick, full = quick_error_norm(G, Gr, 1e-6), error_norm(G, Gr, 1e-9)
    assert quick.lower <= full.upper
    assert full.lower <= quick.upper <= full.upper * (1 + 2e-6)


@pytest.mark.parametrize("discrete", [True, False])
def test_nothing_is_said_of_what_is_not_stable(discrete: bool) -> None:
    G, bad = drawn(1, 9, discrete=discrete), drawn(2, 4, discrete=discrete, radius=1.1)
    for pair in ((G, bad), (bad, G)):
        bracket = quick_error_norm(*pair, 0.3)
        assert (bracket.lower, bracket.upper, bracket.status) == (0.0, np.inf, "open")


def test_of_large_and_of_defective_systems_nothing_is_said_either() -> None:
    large = quick_error_norm(drawn(1, 62, discrete=True), drawn(2, 4, discrete=True), 0.3)
    chain = StateSpace(0.5 * np.eye(30) + np.eye(30, k=-1), np.eye(30)[:, :1], np.eye(30)[-1:], dt=1.0)
    none = StateSpace(np.eye(1) * 0.5, np.zeros((1, 1)), np.zeros((1, 1)), dt=1.0)
    assert large.upper == quick_error_norm(chain, none, 0.3).upper == np.inf
