"""Integers in units of 2**-bits: what is said to be exact is, judged by fractions."""

from fractions import Fraction

import numpy as np
import pytest

from theory.arithmetic.fixed_point import (
    above,
    bits_behind_the_point,
    cholesky,
    fixed,
    identity,
    inverse,
    nearest,
    orthogonal_columns,
    product,
    size,
)

BITS = 200


def fractions(X, bits):
    return np.array([Fraction(int(x), 1 << bits) for x in X.ravel()]).reshape(X.shape)


def draw(rng, *shape):
    return rng.normal(size=shape) * 10.0 ** rng.uniform(-9, 9, shape)


def test_float64_numbers_are_integers(rng):
    X = draw(rng, 4, 3)
    bits = bits_behind_the_point(X)
    assert np.array_equal(nearest(fixed(X, bits), bits), X)
    assert np.array_equal(nearest(fixed(X, bits + 70), bits + 70), X)
    with pytest.raises(ValueError, match="bits behind the point"):
        fixed(X, bits - 1)
    assert bits_behind_the_point(np.array([[0.375, 2.0**60]]), np.zeros((0, 2))) == 3


def test_products_are_off_by_half_a_unit(rng):
    X, Y = draw(rng, 3, 5), draw(rng, 5, 2)
    exactly = np.array([[Fraction(x) for x in row] for row in X]) @ np.array([[Fraction(y) for y in row] for row in Y])
    gap = fractions(product(fixed(X, BITS), fixed(Y, BITS), BITS), BITS) - exactly
    assert max(abs(g) for g in gap.ravel()) <= Fraction(1, 2 << BITS)
    assert product(fixed(X, BITS)[:, :0], fixed(Y, BITS)[:0], BITS).tolist() == [[0, 0]] * 3


def test_sizes_are_upper_bounds(rng):
    X = fixed(draw(rng, 3, 3), BITS)
    assert size(X) ** 2 >= (X * X).sum() > (size(X) - 2) ** 2
    assert size(0 * X) == 0
    for value in (1, 3**40, 10**300, 7 << 500):
        assert Fraction(above(value, BITS)) >= Fraction(value, 1 << BITS)
    assert above(1 << 2000, 10) == np.inf
    assert above(1, 5000) > 0


@pytest.mark.parametrize("rank", [2, 4])
def test_cholesky(rng, rank):
    G = fixed(rng.normal(size=(4, rank)), BITS)
    S = product(G, G.T, BITS)
    L = cholesky(S, BITS)
    assert not np.triu(L, 1).any()
    # a pivot that is cut off is at most a few units, and so are products of half units with what was divided by it
    assert size(product(L, L.T, BITS) - S) <= 1 << (BITS - 190 if rank == 4 else BITS // 2)


def test_inverse(rng):
    X = fixed(draw(rng, 5, 5), BITS)
    Z = inverse(X, BITS)
    assert size(product(X, Z, BITS) - identity(5, BITS)) <= 1 << BITS - 100
    X[2] = X[1]
    found = inverse(X, BITS)
    assert found is None or size(product(X, found, BITS) - identity(5, BITS)) >= 1 << BITS - 1


def test_orthogonal_columns(rng):
    M = fixed(draw(rng, 5, 5), BITS)
    M[:, 3] = M[:, 1]  # a column too many
    V = orthogonal_columns(M, BITS)
    assert size(product(V.T, V, BITS) - identity(5, BITS)) <= 1 << 20
    N = product(M, V, BITS)
    lengths = [int((N[:, i] * N[:, i]).sum()) for i in range(5)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[-1] <= 1 << 60
    for i in range(4):
        for j in range(i):
            assert int((N[:, i] * N[:, j]).sum()) ** 2 << 300 <= lengths[i] * lengths[j]
