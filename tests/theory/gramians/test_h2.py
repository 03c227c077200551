"""The H2 norm: energy of the impulse response, python-control, 50 digits, and the infinite cases."""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from strategies import dense_systems, diagonal_systems, gaussian
from tolerance import tol

from theory.errors import StabilityError
from theory.gramians.h2 import h2_norm
from theory.systems.discretization import discretize
from theory.systems.realization import dense, with_conjugates
from theory.systems.simulation import two_sided_impulse_response
from theory.systems.system import DiagonalStateSpace, StateSpace


@given(diagonal_systems(bidirectional=None, delay=None, discrete=True, closest=0.05, badly_scaled=False))
def test_energy_of_the_impulse_response(system):
    taps = two_sided_impulse_response(system, 1000)
    wanted = np.linalg.norm(taps)
    modes = np.linalg.norm(taps, axis=(1, 2)).max() + np.linalg.norm(system.B) * np.linalg.norm(system.C) / 0.05
    assert abs(h2_norm(system) - wanted) <= tol(2 * system.n) * modes


@given(dense_systems(closest=1e-2))
def test_real_parts_and_dual(system):
    norm = h2_norm(system)
    dual = StateSpace(system.A.conj().T, system.C.conj().T, system.B.conj().T, system.D.conj().T, dt=system.dt)
    if np.isinf(norm):
        assert not system.is_discrete
        assert np.any(system.D)
        assert np.isinf(h2_norm(dual))
    else:
        margin = 1 - np.abs(system.poles).max() if system.is_discrete else -system.poles.real.max()
        condition = (1 + np.linalg.norm(system.A)) ** 2 / margin * 100
        scale = np.linalg.norm(system.B) * np.linalg.norm(system.C) / np.sqrt(margin)
        assert abs(norm - h2_norm(dual)) <= tol(system.n, condition) * max(norm, scale)


@given(diagonal_systems(closest=1e-3, badly_scaled=False, feedthrough=False))
def test_diagonal_equals_dense(system):
    scale = np.linalg.norm(system.B) * np.linalg.norm(system.C) / np.sqrt(system.margin.min())
    condition = 1 / system.margin.min()
    assert abs(h2_norm(system) - h2_norm(dense(system))) <= tol(2 * system.n, condition) * scale * 2


@pytest.mark.parametrize("exponent", [-3, -6, -9])
def test_near_the_circle_against_50_digits(rng, exponent):
    n = 5
    poles = (1 - 10.0**exponent * rng.uniform(0.2, 1, n)) * np.exp(1j * (1 + 10.0**exponent * rng.uniform(-2, 2, n)))
    system = DiagonalStateSpace(poles, gaussian(rng, n, 2), gaussian(rng, 3, n), delay=0)
    full = with_conjugates(system)
    with mpmath.workdps(50):
        total = mpmath.mpf(0)
        BB, CC = full.B @ full.B.conj().T, full.C.conj().T @ full.C
        for i in range(2 * n):
            for j in range(2 * n):
                gap = 1 - mpmath.mpc(full.poles[i]) * mpmath.conj(mpmath.mpc(full.poles[j]))
                total += mpmath.mpc(BB[i, j]) * mpmath.mpc(CC[j, i]) / gap
        wanted = float(mpmath.sqrt(mpmath.re(total)))
    assert h2_norm(system) == pytest.approx(wanted, rel=tol(2 * n, 10))


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("exponent", [-1, -4, -7])
def test_modes_that_cancel_against_50_digits(rng, exponent, discrete):
    """Neighbouring poles with opposite residues: the sum over pairs of modes alone would lose 2 * exponent digits."""
    centre = 0.8 * np.exp(0.9j) if discrete else -0.2 + 0.9j
    poles = np.array([centre, centre * (1 + 10.0**exponent), 0.3j if discrete else -0.5])
    B = np.ones((2, 3, 1)) + 0j
    C = np.array([[[1.0, -1.0, 1e-9]], [[1.0, 1.0, 1.0]]]) * (1 + 0.5j)  # the second channel does not cancel
    batch = DiagonalStateSpace(np.tile(poles, (2, 1)), B, C, dt=1.0 if discrete else None)
    got = h2_norm(batch)
    for index in range(2):
        full = with_conjugates(batch[index])
        with mpmath.workdps(50):
            l, r = [mpmath.mpc(z) for z in full.poles], [mpmath.mpc(z) for z in full.C[0] * full.B[:, 0]]
            total = mpmath.fsum(
                r[i] * mpmath.conj(r[j]) / ((1 - l[i] * mpmath.conj(l[j])) if discrete else -(l[i] + mpmath.conj(l[j])))
                for i in range(6)
                for j in range(6)
            )
            wanted = float(mpmath.sqrt(mpmath.re(total)))
        assert got[index] == pytest.approx(wanted, rel=tol(6, 1.0 if index else 10.0**-exponent))
        assert h2_norm(batch[index]) == pytest.approx(got[index], rel=tol(6))


def test_one_pole_by_hand():
    assert h2_norm(DiagonalStateSpace([-0.5], [[2.0]], [[3.0]], dt=None, conjugate_pairs=False)) == pytest.approx(6.0)
    assert h2_norm(StateSpace([[0.6]], [[2.0]], [[4.0]], [[1.0]], dt=0.1)) == pytest.approx(np.sqrt(1 + 64 / 0.64))


def test_control_agrees(rng):
    control = pytest.importorskip("control")
    pytest.importorskip("slycot")
    system = DiagonalStateSpace(
        -rng.uniform(0.1, 1, 3) + 1j * rng.uniform(0, 4, 3), gaussian(rng, 3, 2), gaussian(rng, 2, 3), dt=None
    )
    for ours, dt in ((dense(system), 0), (dense(discretize(system, 0.4)), 0.4)):
        theirs = control.norm(control.StateSpace(ours.A, ours.B, ours.C, ours.D, dt), 2)
        assert h2_norm(ours) == pytest.approx(theirs, rel=1e-9)


def test_special_cases():
    assert h2_norm(StateSpace([], [], [], [[3.0, 4.0]], dt=1.0)) == 5.0
    assert h2_norm(StateSpace([], [], [], [[3.0, 4.0]])) == np.inf
    assert h2_norm(StateSpace([], [], [], [[0.0]])) == 0.0
    assert h2_norm(DiagonalStateSpace([-1.0], [[1]], [[1]], [[1]], dt=None)) == np.inf
    batch = DiagonalStateSpace(np.full((2, 1), -1.0), np.ones((2, 1, 1)), np.ones((2, 1, 1)), [[[0]], [[1]]], dt=None)
    assert h2_norm(batch)[0] < h2_norm(batch)[1] == np.inf
    with pytest.raises(StabilityError):
        h2_norm(DiagonalStateSpace([1.0], [[1]], [[1]]))


@pytest.mark.parametrize("channels", [(1, 1), (2, 3)])
@pytest.mark.parametrize("pairs", [True, False])
def test_the_sum_over_modes_does_not_depend_on_its_pieces(rng, monkeypatch, channels, pairs):
    m, p = channels
    poles = 0.9 * np.exp(1j * rng.uniform(-3, 3, (2, 11))) * rng.uniform(size=(2, 11))
    system = DiagonalStateSpace(poles, gaussian(rng, 2, 11, m), gaussian(rng, 2, p, 11), conjugate_pairs=pairs)
    whole = h2_norm(system)
    for entries in (1, 60, 22 * 11):
        monkeypatch.setattr("theory.gramians.h2.ENTRIES", entries)
        assert h2_norm(system) == pytest.approx(whole, rel=tol(22))


@pytest.mark.parametrize("conjugate", [True, False])
@pytest.mark.parametrize(
    ("b", "c"), [(1e200, 1e100), (1e-200, 1e-100), (1e-300, 1e300), (5e-324, 1.0), (1e200, 1e-320)]
)
def test_entries_at_the_ends_of_float64(b, c, conjugate):
    """|b c| / sqrt(1 - 1/4) for a single pole at 1/2, twice that for a pair; a second mode is scaled the other way."""
    batch = DiagonalStateSpace(
        [[0.5, 0.0], [0.5, 0.0]],
        [[[b], [c]], [[b], [0.0]]],
        [[[c, 0.0]], [[c, b]]],
        conjugate_pairs=conjugate,
    )
    wanted = mpmath.mpf(b) * mpmath.mpf(c) / mpmath.sqrt(mpmath.mpf(3) / 4) * (2 if conjugate else 1)
    for found in (h2_norm(batch)[0], h2_norm(batch)[1], h2_norm(batch[0])):
        assert abs(mpmath.mpf(found) - wanted) <= 1e-14 * wanted + mpmath.mpf(2) ** -1075
    assert h2_norm(DiagonalStateSpace([0.5], [[1e200]], [[1e200]])) == np.inf
    assert h2_norm(DiagonalStateSpace([0.5], [[1e-200]], [[1e-200]], [[1e250]])) == 1e250
