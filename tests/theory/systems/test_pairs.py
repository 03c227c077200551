"""Conjugate pairs as a real system, in integers: every number here is exact."""

from fractions import Fraction

import numpy as np
import pytest

from theory.systems.pairs import (
    both_halves,
    real_embedding,
    real_input,
    real_output,
    real_state_matrix,
    real_state_times,
)


def integers(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(-9, 10, shape) + 1j * rng.integers(-9, 10, shape)


@pytest.mark.parametrize(("n", "m", "p"), [(0, 1, 1), (1, 1, 1), (3, 2, 4)])
def test_the_real_system_has_the_markov_parameters_of_the_pairs(n: int, m: int, p: int, rng) -> None:
    poles, B, C = integers(rng, n), integers(rng, n, m), integers(rng, p, n)
    A, real_B, real_C = real_state_matrix(poles), real_input(B), real_output(C)
    assert A.shape == (2 * n, 2 * n)
    state = real_B
    for k in range(4):
        wanted = [
            [sum(2 * _real_part(_product(C[i, s], *[poles[s]] * k, B[s, j])) for s in range(n)) for j in range(m)]
            for i in range(p)
        ]
        assert np.array_equal(real_C @ state, np.array(wanted, dtype=float).reshape(p, m))
        assert np.array_equal(real_state_times(poles, state), A @ state)
        assert np.array_equal(real_state_times(poles.conj(), state), A.T @ state)
        state = A @ state


def _product(*factors: complex) -> tuple[Fraction, Fraction]:
    re, im = Fraction(1), Fraction(0)
    for z in factors:
        a, b = Fraction(z.real), Fraction(z.imag)
        re, im = re * a - im * b, re * b + im * a
    return re, im


def _real_part(z: tuple[Fraction, Fraction]) -> int:
    return int(z[0])


def test_an_embedded_matrix_acts_on_real_and_imaginary_parts(rng) -> None:
    X, v = integers(rng, 3, 2), integers(rng, 2, 1)
    assert np.array_equal(real_embedding(X) @ real_input(v), real_input(X @ v))


def test_batches_keep_their_axes_and_halves_their_order(rng) -> None:
    C = integers(rng, 5, 2, 3)
    assert real_output(C).shape == (5, 2, 6)
    assert real_input(np.swapaxes(C, -1, -2)).shape == (5, 6, 2)
    halves = both_halves(C, axis=-2)
    assert np.array_equal(halves[:, :2], C)
    assert np.array_equal(halves[:, 2:], C.conj())
