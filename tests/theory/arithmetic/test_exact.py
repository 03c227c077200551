"""Error-free transformations against rational arithmetic, on numbers chosen to break them."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from theory.arithmetic.exact import split, two_product, two_square, two_sum

floats = st.floats(allow_nan=False, allow_infinity=False)
tiny = st.integers(-(2**55), 2**55).map(lambda k: k * 2.0**-1074)  # the subnormal numbers and their neighbours
hostile = st.one_of(floats, tiny, st.sampled_from([0.0, -0.0, 1.0, 2.0**53, 2.0**53 - 1, 1 + 2.0**-52, 1 - 2.0**-53]))
moderate = st.floats(-(2.0**500), 2.0**500)
LEAST = Fraction(2) ** -1074


@given(hostile, hostile)
@example(1.0, -(2.0**-54))
@example(2.0**53, 1.0)
@example(5e-324, -1.7e308)
def test_a_sum_is_its_head_and_tail(x: float, y: float) -> None:
    assume(abs(Fraction(x) + Fraction(y)) < Fraction(2) ** 1023)
    head, tail = two_sum(np.float64(x), np.float64(y))
    assert Fraction(float(head)) + Fraction(float(tail)) == Fraction(x) + Fraction(y)
    assert head == x + y


def test_sums_are_exact_in_extended_precision_and_for_complex_numbers(rng: np.random.Generator) -> None:
    x = rng.normal(size=64)
    wide = x.astype(np.longdouble) * np.longdouble(2) ** -70 + rng.normal(size=64)
    for one, two in ((wide, x * 1e17), (x + 1j * x[::-1], 1e16 * (x[::-1] - 1j * x))):
        head, tail = two_sum(one, two)
        for part in ("real", "imag"):
            for terms in zip(*(getattr(z, part) for z in (one, two, head, tail))):
                a, b, c, d = (Fraction(*z.as_integer_ratio()) for z in terms)
                assert a + b == c + d


def integral_ulp(x: float) -> Fraction:
    return Fraction(float(np.spacing(abs(x))))


@given(hostile, hostile)
@example(1 + 2.0**-52, 1 - 2.0**-53)
@example(2.0**-485 * (1 + 2.0**-52), 2.0**-485 * (1 + 2.0**-52))  # the least products that are exact
@example(2.0**995, 2.0**20)
def test_a_product_is_its_head_and_tail(x: float, y: float) -> None:
    assume(max(abs(x), abs(y)) < 2.0**996 and abs(Fraction(x) * Fraction(y)) < Fraction(2) ** 1021)
    head, tail = two_product(np.float64(x), np.float64(y))
    off = abs(Fraction(float(head)) + Fraction(float(tail)) - Fraction(x) * Fraction(y))
    exact = integral_ulp(x) * integral_ulp(y) >= LEAST
    assert off == 0 if exact else off <= 3 * LEAST
    assert head == x * y
    if abs(x) > 0 and abs(y) > 0 and abs(Fraction(x) * Fraction(y)) >= Fraction(2) ** -969:
        assert off == 0


@given(moderate)
@example(2.0**-485 * (1 + 2.0**-52))
@example(2.0**-538 * (1 + 2.0**-52))
@example(134217729.0)
def test_a_square_is_the_product_with_itself(x: float) -> None:
    head, tail = two_square(np.float64(x))
    off = abs(Fraction(float(head)) + Fraction(float(tail)) - Fraction(x) ** 2)
    assert off == 0 if integral_ulp(x) ** 2 >= LEAST else off <= 3 * LEAST


@given(st.floats(-(2.0**995), 2.0**995))
def test_the_parts_of_a_number_have_half_of_its_bits(x: float) -> None:
    high, low = split(np.float64(x))
    assert Fraction(float(high)) + Fraction(float(low)) == Fraction(x)
    for part in (high, low):
        ratio = abs(Fraction(float(part)))
        odd = ratio.numerator >> ((ratio.numerator & -ratio.numerator).bit_length() - 1) if ratio else 0
        assert odd.bit_length() <= 26
        assert ratio == 0 or ratio.denominator & (ratio.denominator - 1) == 0


@pytest.mark.parametrize("shape", [(), (3,), (2, 1), (0,)])
def test_arrays_are_taken_elementwise(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    x, y = rng.normal(size=shape), rng.normal(size=(3,)) if shape != (0,) else np.zeros(0)
    for operation in (two_sum, two_product):
        head, tail = operation(x, y)
        assert head.shape == tail.shape == np.broadcast_shapes(shape, y.shape)
        one, two = np.broadcast_arrays(x, y)
        for a, b, h, t in zip(one.ravel(), two.ravel(), head.ravel(), tail.ravel()):
            assert (float(h), float(t)) == tuple(float(part) for part in operation(a, b))
