"""Frequency-limited Gramians are integrals along the circle (axis): by quadrature, in 40 digits, and by their sums."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_cases import KINDS, system
from spectral_cases import integrals
from strategies import diagonal_systems, gaussian
from tolerance import relative, tol

from theory.errors import InputError, StabilityError
from theory.gramians.frequency_limited import Piece, frequency_limited_gramians, piecewise_gramians
from theory.gramians.gramians import gramians
from theory.systems.system import DiagonalStateSpace

CLOSEST = 1e-4
"""Margin of the poles whose resolvents are inverted in plain arithmetic here: eight digits are left."""

fractions = st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)).filter(lambda pair: abs(pair[0] - pair[1]) > 1e-3)


def band_of(item, fraction):
    return tuple(edge * (np.pi if item.is_discrete else 3.0) for edge in sorted(fraction))


def close(found, wanted, item):
    return relative(found, wanted) <= tol(found.shape[-1], 1.0 / float(item.margin.min()))


def any_system(**options):
    return st.one_of(
        diagonal_systems(bidirectional=None, delay=None, closest=CLOSEST, max_n=4, badly_scaled=False, **options),
        diagonal_systems(closest=CLOSEST, max_n=3, siso=True, batch=(2,), badly_scaled=False, **options),
    )


@given(any_system(), fractions)
def test_they_are_integrals_over_the_band_and_its_mirror_image(item, fraction):
    band = band_of(item, fraction)
    mirrored = -band[1], -band[0]
    P, Q = frequency_limited_gramians(item, band)
    for index in np.ndindex(item.batch_shape):
        one = item[index] if index else item
        for found, wanted in zip((P[index], Q[index]), integrals(one, (band, mirrored)), strict=True):
            assert close(found, wanted, one)


@given(any_system(), fractions, st.floats(0.1, 0.9))
def test_disjoint_bands_add_up(item, fraction, where):
    low, high = band_of(item, fraction)
    cut = low + where * (high - low)
    bands = ((low, cut), (cut, high), (low, high))
    (P1, Q1), (P2, Q2), (P, Q) = (frequency_limited_gramians(item, band) for band in bands)
    assert close(P1 + P2, P, item)
    assert close(Q1 + Q2, Q, item)
    both = piecewise_gramians(item, (Piece(low, cut, 2.0), Piece(cut, high, 0.5)), (Piece(cut, high, 3.0),))
    assert close(both[0], 2.0 * P1 + 0.5 * P2, item)
    assert close(both[1], 3.0 * Q2, item)


@given(any_system())
def test_the_whole_band_gives_the_gramians(item):
    band = (0.0, np.pi if item.is_discrete else np.inf)
    for found, wanted in zip(frequency_limited_gramians(item, band), gramians(item), strict=True):
        assert close(found, wanted, item)


@given(any_system(), fractions)
def test_they_are_semidefinite_and_grow_with_the_band(item, fraction):
    low, high = band_of(item, fraction)
    wider = 0.5 * low, high
    for part, whole in zip(*(frequency_limited_gramians(item, band) for band in ((low, high), wider)), strict=True):
        size = np.linalg.norm(whole, axis=(-2, -1))
        allowed = tol(part.shape[-1], 1.0 / float(item.margin.min())) * size
        for matrix in (part, whole - part):
            assert (np.linalg.eigvalsh(0.5 * (matrix + np.swapaxes(matrix, -1, -2).conj())).min(-1) >= -allowed).all()


@pytest.mark.parametrize("discrete", [True, False])
def test_poles_next_to_the_boundary_keep_their_digits(discrete):
    """In the band, outside of it, and next to each other: every entry relative to itself, against 40 digits."""
    margin = np.array([1e-9, 1e-9, 1e-7, 3e-9, 1e-3])
    angle = np.array([0.5, 2.0, 2.0 + 1e-8, 1e-9, -2.0])
    poles = (1 - margin) * np.exp(1j * angle) if discrete else -margin + 1j * angle
    rng = np.random.default_rng(0)
    item = DiagonalStateSpace(
        poles, gaussian(rng, 5, 1), gaussian(rng, 1, 5), dt=1.0 if discrete else None, conjugate_pairs=False
    )
    low, high = 0.25, 1.0
    P, Q = frequency_limited_gramians(item, (low, high))
    with mp.workdps(40):
        exact = [mp.mpmathify(complex(pole)) for pole in item.poles]

        def outer(pole, omega):
            return (mp.expj(omega) if discrete else mp.mpc(0, omega)) - pole

        cuts = [low, *sorted(0.5 + s * mp.mpf(10) ** -k for k in range(1, 11) for s in (-1, 1)), high]
        for i in range(5):
            for j in range(i + 1):

                def entry(omega, i=i, j=j):
                    return 1 / (outer(exact[i], omega) * mp.conj(outer(exact[j], omega)))

                total = mp.quad(entry, cuts) + mp.quad(entry, [-high, -low])
                wanted = complex(total / (2 * mp.pi))
                into, out = item.B[i, 0] * item.B[j, 0].conj(), item.C[0, i] * item.C[0, j].conj()
                for found, weight in ((P, into), (Q.conj(), out)):
                    assert abs(found[i, j] / weight - wanted) <= tol(5) * abs(wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_they_have_the_kind_of_the_system(kind):
    item = system(kind)
    for found, whole in zip(frequency_limited_gramians(item, (0.2, 0.9)), gramians(item), strict=True):
        assert (found.shape, found.dtype) == (whole.shape, whole.dtype)


def test_no_states_have_empty_gramians():
    P, Q = frequency_limited_gramians(system("S5").keep([]), (0.2, 0.9))
    assert P.shape == Q.shape == (0, 0)


def test_what_is_no_band_is_refused():
    item = system("S5")
    bands = ((1.0, 0.5), (0.5, 0.5), (-0.1, 0.5), (0.5, 3.2), (np.nan, 1.0), (0.0, np.inf), (0.1,), 0.5, None, "ab",
             (True, 2.0), (0.1, "2"))  # fmt: skip
    for band in bands:
        with pytest.raises(InputError, match="band"):
            frequency_limited_gramians(item, band)
    with pytest.raises(InputError, match="rad/sample and end at pi"):
        frequency_limited_gramians(item, (0.0, 40.0))
    with pytest.raises(InputError, match="rad/s,"):
        frequency_limited_gramians(DiagonalStateSpace([-1], [[1]], [[1]], dt=None), (2.0, 1.0))
    with pytest.raises(StabilityError):
        frequency_limited_gramians(item.replace(poles=item.poles / np.abs(item.poles)), (0.2, 0.9))
