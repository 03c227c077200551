"""The stability margin and the pairwise gap, against 60 digits."""

import mpmath
import numpy as np
import pytest
from tolerance import EPS

from theory.systems.margin import disc_gap, discrete_margin, spectral_rounding, state_scaling


@pytest.mark.parametrize("exponent", [-0.1, -1, -3, -6, -9, -12, -15])
def test_margin_has_full_relative_accuracy(rng, exponent):
    angles = rng.uniform(-np.pi, np.pi, 50)
    poles = (1.0 - 10.0**exponent) * np.exp(1j * angles)
    with mpmath.workdps(60):
        wanted = np.array([float(1 - mpmath.sqrt(mpmath.mpf(z.real) ** 2 + mpmath.mpf(z.imag) ** 2)) for z in poles])
    assert np.all(np.abs(discrete_margin(poles) - wanted) <= 8 * EPS * np.abs(wanted))


def test_margin_knows_the_circle_and_its_outside():
    assert discrete_margin([1.0, -1.0, 1j, 0.6 + 0.8j])[:3].tolist() == [0, 0, 0]
    assert discrete_margin(1.5) == -0.5
    assert discrete_margin(1e200) < 0
    assert discrete_margin(np.nextafter(1.0, 2.0)) < 0 < discrete_margin(np.nextafter(1.0, 0.0))
    assert discrete_margin(0.0) == 1.0


@pytest.mark.parametrize("exponent", [-1, -5, -9, -14])
def test_gap_has_full_relative_accuracy(rng, exponent):
    radius = 1.0 - 10.0**exponent * rng.uniform(0.1, 1, 12)
    poles = radius * np.exp(1j * (0.7 + 10.0**exponent * rng.uniform(-1, 1, 12)))
    got = disc_gap(poles[:, None], poles)
    with mpmath.workdps(60):
        exact = [mpmath.mpc(z) for z in poles]
        wanted = np.array([[complex(1 - a * mpmath.conj(b)) for b in exact] for a in exact])
    assert np.all(np.abs(got - wanted) <= 16 * EPS * np.abs(wanted))


def test_gap_is_hermitian_and_its_diagonal_is_the_margin(rng):
    poles = 0.9 * np.exp(1j * rng.uniform(0, 6, 7))
    gap = disc_gap(poles[:, None], poles)
    assert np.allclose(gap, gap.conj().T, rtol=8 * EPS, atol=0)
    margin = discrete_margin(poles)
    assert np.allclose(gap.diagonal(), margin * (2 - margin), rtol=8 * EPS, atol=0)


def test_scaling_takes_units_out(rng):
    A, units = rng.standard_normal((6, 6)), 10.0 ** rng.uniform(-8, 8, 6)
    turned = A * units / units[:, None]
    d = state_scaling(turned)
    assert np.all(np.log2(d) == np.round(np.log2(d)))
    assert np.linalg.norm(turned * d / d[:, None]) <= 10 * np.linalg.norm(A)
    assert np.array_equal(state_scaling(A), np.ones(6))
    assert state_scaling(np.zeros((0, 0))).shape == (0,)


def test_spectral_rounding_is_zero_for_triangular_matrices(rng):
    A = rng.standard_normal((5, 5))
    assert spectral_rounding(A) == pytest.approx(EPS * np.linalg.norm(A))
    assert spectral_rounding(np.triu(A)) == spectral_rounding(np.tril(A)) == 0.0
