"""Bounds of what an exact inverse does, against 50 digits."""

import mpmath as mp
import numpy as np
import pytest

from theory.arithmetic.near_inverse import NearInverse, is_regular

mp.mp.dps = 50


def exact(matrix: np.ndarray, low: np.ndarray | None = None) -> mp.matrix:
    value = mp.matrix(matrix.tolist())
    return value if low is None else value + mp.matrix(low.tolist())


@pytest.mark.parametrize("spread", [0.0, 1e-17, 1e-6])
@pytest.mark.parametrize("conditioning", [0.0, 6.0])
@pytest.mark.parametrize("off", [0.0, 1e-3])
def test_the_bound_holds(spread: float, conditioning: float, off: float, rng: np.random.Generator) -> None:
    n, k = 6, 3
    for _ in range(4):
        V = rng.normal(size=(n, n)) * 10.0 ** -rng.uniform(0, conditioning, n) + 1j * rng.normal(size=(n, n))
        low = spread * rng.normal(size=(n, n)) + 0j
        W = np.linalg.inv(V) * (1 + off * rng.normal(size=(n, n)))  # of all digits, or of three
        Y, error = rng.normal(size=(n, k)) + 0j, 1e-9 * rng.uniform(size=(n, k))
        found = NearInverse.of(V, W, low=low if spread else None)
        assert found is not None
        bound = found.bound(Y, error)
        signs = np.exp(2j * np.pi * rng.uniform(size=(n, k)))
        for moved in (Y, Y + error * 0.999999 * signs):
            solution = mp.lu_solve(exact(V, low), exact(moved[:, :1]))
            for i in range(n):
                assert abs(solution[i]) <= bound[i, 0]
        assert bound[:, 0].max() <= 4 * max(abs(x) for x in solution)  # and is of use


def test_the_worst_case_of_the_neumann_series() -> None:
    # W V = diag(1 - d): the inverse is larger than W by 1 / (1 - d), and the coupling shows in the other rows
    d = 0.375
    V, W = np.array([[1.0, 0.0], [d, 1.0 - d]]), np.eye(2)
    found = NearInverse.of(V, W)
    assert found is None  # row sums of |I - W V| are 2 d
    V = np.array([[1.0, 0.0], [-0.25, 1.0 - 0.125]])
    found = NearInverse.of(V, W)
    assert found is not None
    truth = np.linalg.solve(V, np.eye(2))
    assert (np.abs(truth) <= found.bound(np.eye(2), np.zeros((2, 2)))).all()


def test_an_inverse_that_is_far_off_is_refused(rng: np.random.Generator) -> None:
    V = rng.normal(size=(4, 4))
    assert NearInverse.of(V, 2.0 * np.linalg.inv(V)) is None
    assert NearInverse.of(V, np.full((4, 4), np.nan)) is None


def test_regular_matrices_are_proved_in_any_units(rng: np.random.Generator) -> None:
    for _ in range(8):
        V = rng.normal(size=(5, 5))
        rows, columns = 2.0 ** rng.integers(-200, 200, (2, 5))
        assert is_regular(V, np.linalg.inv(V))
        assert is_regular(rows[:, None] * V * columns, np.linalg.inv(V) / columns[:, None] / rows)
        upper = np.triu(1e6 * V, 1) + np.eye(5)
        assert is_regular(upper, np.linalg.inv(upper))  # of condition 1e30


@pytest.mark.parametrize("off", [1e-13, 1e-9, 1e-3])  # far from the last bits: the neighbour has an inverse anywhere
def test_a_singular_matrix_is_never_proved_regular(off: float, rng: np.random.Generator) -> None:
    for _ in range(20):
        V = rng.integers(-9, 10, (4, 4)).astype(float)
        V[3] = V[0] + V[1] - V[2]
        W = np.linalg.inv(V + off * rng.normal(size=(4, 4)))
        assert not is_regular(V, W)
    assert not is_regular(np.zeros((2, 2)), np.eye(2))
    assert not is_regular(np.eye(2), np.full((2, 2), np.inf))
