"""Discretization: inverse of its inverse, margins against 60 digits, SciPy and python-control as oracles."""

import mpmath
import numpy as np
import pytest
import scipy.signal
from hypothesis import given
from strategies import dense_systems, diagonal_systems
from tolerance import EPS, relative, tol

from theory.errors import AccuracyError, InputError, TimeBaseError
from theory.gramians.hankel import hankel_singular_values
from theory.systems.discrete_modes import bilinear, inverse_bilinear, inverse_zero_order_hold, zero_order_hold
from theory.systems.discretization import discretize, undiscretize
from theory.systems.realization import dense
from theory.systems.response import frequency_response
from theory.systems.system import DiagonalStateSpace, StateSpace


def layer(rng, n=9, m=3):
    poles = -(10.0 ** rng.uniform(-6, 1, n)) + 1j * rng.uniform(-20, 20, n)
    B = rng.standard_normal((n, m)) + 1j * rng.standard_normal((n, m))
    return poles, B, 10.0 ** rng.uniform(-3, -1, n)


@pytest.mark.parametrize(("there", "back"), [(zero_order_hold, inverse_zero_order_hold), (bilinear, inverse_bilinear)])
def test_inverse(rng, there, back):
    poles, B, step = layer(rng)
    found = there(poles, B, step)
    again, B_again = back(found.poles, found.B, step)
    # the discrete pole is known to eps, the continuous one to eps / step
    assert np.all(np.abs(again - poles) <= tol(2) * (np.abs(poles) + 1 / step))
    assert np.all(np.abs(B_again - B) <= tol(2, 1 / np.abs(poles * step).min()) * np.abs(B))


def test_inverse_uses_a_margin_that_is_known_better(rng):
    poles, B, step = layer(rng)
    poles = poles.imag * 1j - 1e-11
    found = zero_order_hold(poles, B, step)
    again, _ = inverse_zero_order_hold(found.poles, found.B, step, margin=found.margin)
    assert np.allclose(again.real, poles.real, rtol=tol(2), atol=0)


@pytest.mark.parametrize("rule", [zero_order_hold, bilinear])
def test_against_60_digits(rng, rule):
    poles, B, step = layer(rng)
    found = rule(poles, B, step)
    with mpmath.workdps(60):
        for k in range(len(poles)):
            h, l = mpmath.mpf(step[k]), mpmath.mpc(poles[k])
            if rule is zero_order_hold:
                # the product pole * step in float64 is off by eps of itself, all that is lost
                l = mpmath.mpc(poles[k] * step[k]) / h
                pole, gain = mpmath.exp(l * h), (mpmath.exp(l * h) - 1) / l
            else:
                l = mpmath.mpc(0.5 * poles[k] * step[k]) * 2 / h
                pole, gain = (1 + l * h / 2) / (1 - l * h / 2), h / (1 - l * h / 2)
            assert abs(found.poles[k] - complex(pole)) <= 8 * EPS
            assert np.all(np.abs(found.B[k] - complex(gain) * B[k]) <= 16 * EPS * np.abs(complex(gain) * B[k]))
            margin = float(1 - abs(pole))
            assert abs(found.margin[k] - margin) <= 16 * EPS * margin


def test_slow_poles_are_continuous_at_zero():
    poles = np.array([0.0, 1e-300, 1e-20, -1e-10, 1e-5j])
    found = zero_order_hold(poles, np.ones((5, 1)), 0.5)
    assert np.allclose(found.B[:, 0], 0.5, rtol=1e-5)
    assert found.B[0, 0] == 0.5
    assert found.poles[0] == 1.0
    back = inverse_zero_order_hold(found.poles, found.B, 0.5)
    assert np.array_equal(back.B[:1], [[1.0]])
    assert back.poles[0] == 0.0


def test_poles_on_the_negative_axis_take_the_principal_branch():
    poles, _ = inverse_zero_order_hold([-0.25], [[1.0]], 2.0)
    assert poles[0] == pytest.approx((np.log(0.25) + 1j * np.pi) / 2.0)


@pytest.mark.parametrize(
    ("call", "pole"),
    [(inverse_zero_order_hold, 0.0), (inverse_bilinear, -1.0), (lambda p, B: bilinear(p, B, 1.0), 2.0)],
)
def test_poles_without_an_image(call, pole):
    with pytest.raises(InputError):
        call([pole, 0.5], np.ones((2, 1)))


@pytest.mark.parametrize("step", [0.0, -1.0, np.nan, np.inf])
def test_bad_steps(step):
    with pytest.raises(InputError, match="step"):
        zero_order_hold([-1.0], [[1.0]], step)


@given(
    diagonal_systems(
        discrete=False, closest=1e-3, kinds=("spread", "clustered", "repeated", "fast"), badly_scaled=False
    )
)
def test_diagonal_equals_dense_and_scipy(system):
    omega = np.linspace(-3, 3, 7)
    for rule in ("zoh", "bilinear"):
        diagonal, matrix = discretize(system, 0.3, rule), discretize(dense(system), 0.3, rule)
        condition = 1 / diagonal.margin.min()
        assert diagonal.dt == matrix.dt == 0.3
        assert relative(frequency_response(diagonal, omega), frequency_response(matrix, omega)) <= tol(
            matrix.n, condition
        )
        if system.conjugate_pairs:
            full = dense(system)
            A, B, C, D, _ = scipy.signal.cont2discrete((full.A, full.B, full.C, full.D), 0.3, method=rule)
            for name, wanted in zip("ABCD", (A, B, C, D), strict=True):
                assert relative(getattr(matrix, name), wanted) <= tol(
                    matrix.n, np.linalg.cond(np.eye(full.n) - full.A * 0.15)
                )
        for start, there in ((system, diagonal), (dense(system), matrix)):
            # scaled by the gain of the modes: the response itself may be small by cancellation
            again = frequency_response(undiscretize(there, rule), omega)
            assert relative(again, frequency_response(start, omega)) <= tol(matrix.n, 100 * condition)


@given(dense_systems(discrete=False, closest=1e-2))
def test_bilinear_keeps_hankel_singular_values(system):
    wanted = hankel_singular_values(system)
    got = hankel_singular_values(discretize(system, 0.7, "bilinear"))
    condition = np.linalg.cond(system.A) * np.linalg.norm(system.A) / -system.poles.real.max()
    assert np.abs(got - wanted).max() <= tol(system.n, condition) * wanted[0]


@given(diagonal_systems(discrete=False, closest=1e-6))
def test_bilinear_maps_the_frequency_axis(system):
    h, w = 0.4, np.array([-1.0, 0.1, 2.0])
    analog = 2 / h * np.tan(w / 2)
    condition = 1 / np.abs(1j * analog[:, None] - np.concatenate([system.poles, system.poles.conj()])).min()
    got = frequency_response(discretize(system, h, "bilinear"), w)
    wanted = frequency_response(system, analog)
    scale = (np.abs(system.C)[:, :, None] * np.abs(system.B)[None]).sum() * condition * 2 + np.abs(system.D).max()
    assert np.abs(got - wanted).max() <= tol(system.n, condition) * scale


def test_time_bases():
    discrete, continuous = StateSpace([[0.5]], [[1]], [[1]], dt=1.0), StateSpace([[-1.0]], [[1]], [[1]])
    with pytest.raises(TimeBaseError):
        discretize(discrete, 0.1)
    with pytest.raises(TimeBaseError):
        undiscretize(continuous)
    for dt in (0.0, None, -1.0):
        with pytest.raises(TimeBaseError):
            discretize(continuous, dt)
    with pytest.raises(InputError, match="rule"):
        discretize(continuous, 0.1, "euler")
    with pytest.raises(InputError):
        undiscretize(StateSpace([[-0.5]], [[1]], [[1]], dt=1.0))
    with pytest.raises(InputError):
        discretize(StateSpace([[2.0]], [[1]], [[1]]), 1.0, "bilinear")
    with pytest.raises(InputError):
        undiscretize(DiagonalStateSpace([0.5], [[1]], [[1]], delay=0))


def test_static_systems_only_change_their_time_base():
    static = StateSpace([], [], [], [[2.0]])
    for rule in ("zoh", "bilinear"):
        there = discretize(static, 0.1, rule)
        assert there.dt == 0.1
        assert there.D == 2.0
        assert undiscretize(there, rule).dt is None


def transfer(system: StateSpace, z: mpmath.mpc) -> mpmath.mpf:
    """C (z I - A)^{-1} B + D of one input and output, in the working precision of mpmath."""
    A = mpmath.matrix(system.A.tolist())
    states = mpmath.lu_solve(z * mpmath.eye(system.n) - A, mpmath.matrix(system.B.tolist()))
    return (mpmath.matrix(system.C.tolist()) * states)[0] + mpmath.mpf(float(system.D[0, 0]))


BADLY_SCALED = {
    "time scales": ([[-1e17, 0], [0, -1]], 1.0),
    "units": ([[-1.0, 1e12], [-1e-12, -1.0]], 1e-3),
    "both": ([[0, 1e-8, 0], [-(2e10 + 4e8 / 6), -3.0, 2e10], [200 / 3, 0, -200 / 3]], 1.0),
    "triangular": ([[-0.32, 3e4, 3e4, 3e4], [0, -0.30, 3e4, 3e4], [0, 0, -0.31, 3e4], [0, 0, 0, -0.33]], 0.1),
}


@pytest.mark.parametrize("name", BADLY_SCALED)
def test_the_bilinear_rule_takes_stable_systems_in_any_units(name: str) -> None:
    """They cannot have a pole at 2/dt; the transfer functions agree at corresponding points."""
    A, dt = BADLY_SCALED[name]
    system = StateSpace(A, np.ones((len(A), 1)), np.ones((1, len(A))))
    found = discretize(system, dt, "bilinear")
    with mpmath.workdps(60):
        z = mpmath.expj(1)
        wanted, got = transfer(system, 2 / mpmath.mpf(dt) * (z - 1) / (z + 1)), transfer(found, z)
        assert abs(got - wanted) <= 1e-9 * abs(wanted)


def test_the_inverse_bilinear_rule_takes_triangular_systems() -> None:
    A = [[0.32, 3e4, 3e4, 3e4], [0, 0.30, 3e4, 3e4], [0, 0, 0.31, 3e4], [0, 0, 0, 0.33]]
    system = StateSpace(A, np.ones((4, 1)), np.ones((1, 4)), dt=1.0)
    found = undiscretize(system, "tustin")
    with mpmath.workdps(60):
        z = mpmath.expj(1)
        wanted, got = transfer(system, z), transfer(found, 2 * (z - 1) / (z + 1))
        assert abs(got - wanted) <= 1e-9 * abs(wanted)


def test_a_pole_without_image_is_named_or_called_undecided() -> None:
    with pytest.raises(InputError, match="a pole at 2/dt"):
        discretize(StateSpace(np.diag([-1.0, 4.0]), np.ones((2, 1)), np.ones((1, 2))), 0.5, "bilinear")
    with pytest.raises(InputError, match="a pole at -1"):
        undiscretize(StateSpace(np.diag([0.5, -1.0]), np.ones((2, 1)), np.ones((1, 2)), dt=1.0), "bilinear")
    A = np.array([[1.0, 2.0], [3.0, 2.0]])  # poles 4 and -1
    with pytest.raises(InputError, match="a pole at 2/dt"):
        discretize(StateSpace(A, np.ones((2, 1)), np.ones((1, 2))), 0.5, "bilinear")
    for k in (3.0, 7.0, 11.0):  # a pole at 4 / k, up to rounding
        with pytest.raises((InputError, AccuracyError), match="a pole at 2/dt"):
            discretize(StateSpace(A / k, np.ones((2, 1)), np.ones((1, 2))), 0.5 * k, "bilinear")


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("rate", [50.0, 300.0])
def test_fast_poles_of_a_triangular_matrix_come_back(lower: bool, rate: float) -> None:
    """exp(-50) is 1e-22 of the other pole, and still not zero."""
    A = np.array([[-rate, 1.0], [0.0, -1.0]])
    A = A.T if lower else A
    stiff = StateSpace(A, [[1.0], [1.0]], [[1.0, 1.0]])
    back = undiscretize(discretize(stiff, 1.0))
    assert np.sort(back.poles.real) == pytest.approx([-rate, -1.0], rel=1e-13)
    assert np.abs(back.A - stiff.A).max() <= 1e-12 * rate
    assert np.abs(back.B - stiff.B).max() <= 1e-12 * rate


def test_a_logarithm_that_is_wrong_is_an_error() -> None:
    A = np.array([[1e-8, 3e8, 1e9], [0.0, 2e-8, 7e8], [0.0, 0.0, 3e-8]])
    with pytest.raises(AccuracyError, match="logarithm"):
        undiscretize(StateSpace(A, np.ones((3, 1)), np.ones((1, 3)), dt=1.0))
    with pytest.raises(InputError, match="no continuous-time image"):
        undiscretize(StateSpace(np.array([[0.0, 1.0], [0.0, 0.5]]), np.ones((2, 1)), np.ones((1, 2)), dt=1.0))
