"""Responses: dense equals diagonal, time equals frequency, and peaks at 1e-9 from the circle against 50 digits."""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from strategies import dense_systems, diagonal_systems
from tolerance import relative, tol

from theory.errors import DimensionError, InputError, TimeBaseError
from theory.systems.realization import dense
from theory.systems.response import frequency_response
from theory.systems.simulation import impulse_response, simulate, two_sided_impulse_response
from theory.systems.system import DiagonalStateSpace, StateSpace

OMEGA = np.linspace(-np.pi, np.pi, 9)


def modal_scale(system, omega):
    """Sum of the moduli of all partial fractions: what rounding is relative to when modes cancel."""
    z = np.exp(1j * omega) if system.is_discrete else 1j * omega
    poles = np.concatenate([system.poles, system.poles.conj()])
    near = (1 / np.abs(z[:, None] - poles)).max()
    C = np.abs(system.C) + (0 if system.C_reverse is None else np.abs(system.C_reverse))
    return 2 * near * (C @ np.abs(system.B)).max() + np.abs(system.D).max()


@given(diagonal_systems(delay=None, closest=1e-3))
def test_diagonal_equals_dense(system):
    matrix = dense(system)
    scale = modal_scale(system, OMEGA)
    gap = np.abs(frequency_response(system, OMEGA) - frequency_response(matrix, OMEGA)).max()
    assert gap <= tol(matrix.n, 1 / system.margin.min()) * scale


@given(dense_systems())
def test_dense_equals_plain_solves(system):
    z = np.exp(1j * OMEGA) if system.is_discrete else 1j * OMEGA
    pencil = z[:, None, None] * np.eye(system.n) - system.A
    wanted = system.C @ np.linalg.solve(pencil, system.B + 0j) + system.D
    scale = np.linalg.norm(system.C) * np.linalg.norm(system.B) + np.abs(system.D).max()
    condition = max(np.linalg.cond(P) * np.linalg.norm(np.linalg.inv(P)) for P in pencil)
    assert np.abs(frequency_response(system, OMEGA) - wanted).max() <= tol(system.n, condition) * scale


@given(diagonal_systems(bidirectional=None, delay=None, discrete=True, closest=0.05, badly_scaled=False))
def test_time_and_frequency_agree(system):
    length = 2000  # 0.95**2000 is far below eps
    taps = two_sided_impulse_response(system, length)
    lags = np.arange(-length + 1, length)
    summed = np.einsum("wk,kpm->wpm", np.exp(-1j * OMEGA[:, None] * lags), taps)
    assert np.abs(summed - frequency_response(system, OMEGA)).max() <= tol(length) * modal_scale(system, OMEGA)
    assert np.isrealobj(taps) == system.is_real


@given(diagonal_systems(bidirectional=None, delay=None, discrete=True, closest=1e-2, badly_scaled=False))
def test_simulation_is_convolution(system):
    rng = np.random.default_rng(3)
    length = 12
    u = rng.standard_normal((length, system.m))
    taps = two_sided_impulse_response(system, length)
    wanted = np.array([sum(taps[length - 1 + k - i] @ u[i] for i in range(length)) for k in range(length)])
    got = simulate(system, u)
    assert relative(got, wanted) <= tol(length, 10 * np.abs(taps).max() / max(np.abs(wanted).max(), 1e-300))
    assert np.isrealobj(got) == system.is_real
    turned = simulate(system, 1j * u)
    assert relative(turned, 1j * wanted) <= tol(length, 10 * np.abs(taps).max() / max(np.abs(wanted).max(), 1e-300))


@given(diagonal_systems(discrete=True, closest=1e-2, badly_scaled=False))
def test_dense_simulation_with_a_start(system):
    rng = np.random.default_rng(4)
    u, x0 = rng.standard_normal((10, system.m)), rng.standard_normal(system.n) + 1j * rng.standard_normal(system.n)
    start = np.concatenate([x0.real, x0.imag]) if system.conjugate_pairs else x0
    got, wanted = simulate(system, u, x0), simulate(dense(system), u, start)
    assert np.abs(got - wanted).max() <= tol(20) * max(modal_scale(system, OMEGA) * 10, np.abs(wanted).max())
    assert np.allclose(impulse_response(system, 6), impulse_response(dense(system), 6), atol=1e-9)


def test_scan_semantics():
    """x[k] = L x[k-1] + B u[k], y[k] = 2 Re(C x[k]) + D u[k]; the reverse kernel of S4D starts one sample later."""
    l, b, c, r = 0.5 + 0.2j, 1 - 1j, 0.3 + 2j, 1 + 1j
    layer = DiagonalStateSpace([l], [[b]], [[c]], [[3.0]], C_reverse=[[r]], delay=0, delay_reverse=1)
    taps = two_sided_impulse_response(layer, 3)[:, 0, 0]
    forward = [2 * (c * l**k * b).real for k in range(3)]
    backward = [2 * (r * l**k * b).real for k in range(2)]
    wanted = [*backward[::-1], 3.0 + forward[0], *forward[1:]]
    assert np.allclose(taps, wanted, rtol=1e-15)
    s5 = layer.replace(delay_reverse=0)
    assert two_sided_impulse_response(s5, 3)[2, 0, 0] == pytest.approx(3.0 + forward[0] + backward[0], rel=1e-15)


@pytest.mark.parametrize("exponent", [-3, -9, -13])
def test_peaks_near_the_circle(rng, exponent):
    n = 6
    poles = (1 - 10.0**exponent * rng.uniform(0.5, 1, n)) * np.exp(1j * rng.uniform(0.1, 3, n))
    B, C = rng.standard_normal((n, 1)) + 0j, rng.standard_normal((1, n)) + 0j
    system = DiagonalStateSpace(poles, B, C)
    omega = np.angle(poles)
    got = frequency_response(system, omega)[:, 0, 0]
    with mpmath.workdps(50):
        exact = []
        for w in omega:
            z = mpmath.exp(1j * mpmath.mpf(w))
            terms = [mpmath.mpc(c) * mpmath.mpc(b) / (z - mpmath.mpc(l)) for l, b, c in zip(poles, B[:, 0], C[0])]
            mirror = [
                mpmath.mpc(c) * mpmath.mpc(b) / (z - mpmath.conj(mpmath.mpc(l)))
                for l, b, c in zip(poles, B[:, 0], C[0])
            ]
            exact.append(complex(sum(terms) + sum(mirror)))
    exact = np.array(exact)
    # the angle of a pole in extended precision leaves 1e-19 / margin; without extended precision 1e-16 / margin
    lost = float(np.finfo(np.longdouble).eps) * 10.0**-exponent
    assert np.abs(got - exact).max() <= (tol(n) + 8 * lost) * np.abs(exact).max()


def test_wraps_around_the_negative_axis():
    pole = (1 - 1e-9) * np.exp(1j * (np.pi - 1e-12))
    system = DiagonalStateSpace([pole], [[1.0]], [[1.0]], conjugate_pairs=False)
    above, below = frequency_response(system, [np.pi - 1e-12, -np.pi - 1e-12])[:, 0, 0]
    assert abs(above) == pytest.approx(1e9, rel=1e-6)
    assert above == pytest.approx(below, rel=1e-6)


def test_batch_is_an_axis(rng):
    shape = (2, 3)
    poles = 0.9 * np.exp(1j * rng.uniform(0, 3, (*shape, 4)))
    B, C = rng.standard_normal((*shape, 4, 1)), rng.standard_normal((*shape, 1, 4))
    batch = DiagonalStateSpace(poles, B, C, rng.standard_normal((*shape, 1, 1)), C_reverse=C[..., ::-1], delay=0)
    u = rng.standard_normal((*shape, 7, 1))
    for index in np.ndindex(shape):
        one = batch[index]
        assert np.allclose(frequency_response(batch, OMEGA)[index], frequency_response(one, OMEGA), rtol=1e-14)
        assert np.allclose(two_sided_impulse_response(batch, 5)[index], two_sided_impulse_response(one, 5), rtol=1e-13)
        assert np.allclose(simulate(batch, u)[index], simulate(one, u[index]), rtol=1e-13)


def test_many_channels_take_the_other_branch(rng):
    system = DiagonalStateSpace(
        0.9 * np.exp(1j * rng.uniform(0, 3, 5)), rng.standard_normal((5, 40)), rng.standard_normal((30, 5)), delay=0
    )
    assert relative(frequency_response(system, OMEGA), frequency_response(dense(system), OMEGA)) <= tol(10, 100)


def test_infinities():
    integrator = DiagonalStateSpace([1.0], [[1.0]], [[1.0]], conjugate_pairs=False)
    assert np.isinf(frequency_response(integrator, 0.0)).all()
    assert np.isinf(frequency_response(dense(integrator), 0.0)).all()
    continuous = DiagonalStateSpace([-1.0], [[1.0]], [[1.0]], [[5.0]], dt=None)
    assert frequency_response(continuous, [np.inf, -np.inf]).ravel().tolist() == [5.0, 5.0]
    assert frequency_response(dense(continuous), np.inf) == 5.0
    assert np.isinf(frequency_response(continuous.replace(poles=[0.0]), 0.0)).all()
    static = StateSpace([], [], [], [[1.0, 2.0]])
    assert frequency_response(static, [0.0, 1.0]).shape == (2, 1, 2)


def test_refusals():
    continuous = DiagonalStateSpace([-1.0], [[1.0]], [[1.0]], dt=None)
    discrete = DiagonalStateSpace([0.5], [[1.0]], [[1.0]])
    for call in (impulse_response, two_sided_impulse_response):
        with pytest.raises(TimeBaseError):
            call(continuous, 3)
        with pytest.raises(InputError):
            call(discrete, -1)
    with pytest.raises(TimeBaseError):
        simulate(continuous, np.zeros((3, 1)))
    with pytest.raises(DimensionError):
        simulate(discrete, np.zeros((3, 2)))
    for omega in ([np.nan], [[0.0]], [np.inf]):
        with pytest.raises(InputError):
            frequency_response(discrete, omega)
    with pytest.raises(InputError):
        impulse_response(discrete.replace(C_reverse=[[1.0]]), 3)
    assert impulse_response(discrete, 0).shape == (0, 1, 1)
