"""A Cholesky factorization as a proof, probed at the edge of acceptance and checked in rational arithmetic."""

from fractions import Fraction

import numpy as np
import pytest

from theory.arithmetic.definite import positive_definite


def exactly_semidefinite(matrix: np.ndarray) -> bool:
    """By Gaussian elimination over the rationals (with i for complex matrices: as a real matrix of twice the size)."""
    if np.iscomplexobj(matrix):
        matrix = np.block([[matrix.real, -matrix.imag], [matrix.imag, matrix.real]])
    rows = [[Fraction(float(x)) for x in row] for row in matrix]
    while rows:
        pivot = rows[0][0]
        if pivot < 0 or (pivot == 0 and any(rows[0])):
            return False
        rows = [
            [row[k] - (row[0] * rows[0][k] / pivot if pivot else 0) for k in range(1, len(row))] for row in rows[1:]
        ]
    return True


def hermitian(n: int, complex_: bool, rng: np.random.Generator) -> np.ndarray:
    X = rng.normal(size=(n, n)) + (1j * rng.normal(size=(n, n)) if complex_ else 0)
    H = X @ X.conj().T
    return 0.5 * (H + H.conj().T)


@pytest.mark.parametrize("n", [1, 4, 60])
def test_tells_positive_definite_from_indefinite(n: int, rng: np.random.Generator) -> None:
    H = hermitian(n, True, rng) + 1e-3 * np.eye(n)
    least = np.linalg.eigvalsh(H)[0]
    assert positive_definite(H - 0.99 * least * np.eye(n))
    assert not positive_definite(H - 1.01 * least * np.eye(n))
    assert positive_definite(H, shift=0.98 * least)
    assert not positive_definite(H, shift=1.01 * least)


@pytest.mark.parametrize("complex_", [False, True])
def test_what_is_barely_accepted_is_semidefinite(complex_: bool, rng: np.random.Generator) -> None:
    for _ in range(24):
        n = 5
        H = hermitian(n, complex_, rng)
        low, high = 0.0, 2.0 * float(np.linalg.eigvalsh(H)[0]) + 1e-3
        for _ in range(60):  # the largest multiple of the identity that may be taken off
            middle = 0.5 * (low + high)
            low, high = (middle, high) if positive_definite(H - middle * np.eye(n)) else (low, middle)
        assert exactly_semidefinite(H - low * np.eye(n))


def test_a_refusal_by_rounding_is_not_a_proof_of_the_opposite() -> None:
    assert not positive_definite(np.ones((3, 3)))  # semidefinite, and no shift is left
    assert positive_definite(np.zeros((0, 0)))
    assert not positive_definite(np.diag([1.0, -1e-300]))


@pytest.mark.parametrize("lower", [False, True])
def test_one_triangle_of_a_fortran_ordered_matrix_is_read(lower: bool, rng: np.random.Generator) -> None:
    H = hermitian(6, True, rng) + np.eye(6)
    half = np.tril(H) if lower else np.triu(H)
    assert positive_definite(np.asfortranarray(half), lower=lower)
    assert positive_definite(np.ascontiguousarray(H), lower=lower)
