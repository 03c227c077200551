"""Norms of scalar batches: the bracket contains 50-digit gains, its witness attains it, also for hard systems."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest

from theory.errors import InputError, StabilityError
from theory.norms import hinf_norm
from theory.systems.system import DiagonalStateSpace

ATTACKS = 60
"""Batches of the attack, 40 systems each, in the default run."""


def draw(rng, count):
    """Draw a batch of scalar systems that is ill-conditioned in one way or another."""
    n = int(rng.integers(1, 9))
    discrete, paired = rng.random() < 0.75, rng.random() < 0.6
    bidirectional = discrete and rng.random() < 0.4
    margin = 10.0 ** rng.uniform(rng.choice([-1, -3, -6, -9]), -0.01, (count, n))
    angle = rng.uniform(-np.pi, np.pi, (count, n)) * 10.0 ** rng.choice([0, 0, -2, -6], (count, n))
    kind = rng.integers(5)
    if kind == 1:  # clustered within a few margins
        angle = angle[:, :1] + margin * rng.normal(size=(count, n))
        margin = margin[:, :1] * (1 + 0.3 * rng.random((count, n)))
    if kind == 2:  # repeated
        angle, margin = np.repeat(angle[:, :1], n, 1), np.repeat(margin[:, :1], n, 1)
    if kind == 3:  # close to the negative real axis
        angle = np.where(rng.random((count, n)) < 0.5, np.pi - angle, angle)
    poles = (1 - margin) * np.exp(1j * angle) if discrete else (-margin + 1j * angle) * 10.0 ** rng.uniform(-2, 2)
    if rng.random() < 0.2:
        poles = poles.real + 0j
    if discrete and rng.random() < 0.2:
        poles[:, 0] = 0.0

    def gaussian(*shape):
        return rng.normal(size=shape) + 1j * rng.normal(size=shape)

    B, C, D = gaussian(count, n, 1), gaussian(count, 1, n), None
    if rng.random() < 0.3:  # badly scaled modes
        scale = 10.0 ** rng.uniform(-6, 6, (count, n, 1))
        B, C = B * scale, C / np.swapaxes(scale, 1, 2) if rng.random() < 0.5 else C
    if rng.random() < 0.3:  # peaks of equal height
        C = C * margin[:, None, :]
    if rng.random() < 0.2 and n > 1:  # nearly cancelling modes
        poles[:, 1] = poles[:, 0] * (1 - margin[:, 0] * 10.0 ** rng.uniform(-8, -1))
        B[:, 1], C[:, :, 1] = B[:, 0], -C[:, :, 0]
    if rng.random() < 0.5:
        D = rng.normal(size=(count, 1, 1)) * 10.0 ** rng.uniform(-3, 8 if rng.random() < 0.2 else 1)
        D = D if paired else D * np.exp(1j * rng.random())
    return DiagonalStateSpace(
        poles,
        B,
        C,
        D,
        dt=1.0 if discrete else None,
        conjugate_pairs=paired,
        C_reverse=gaussian(count, 1, n) * rng.choice([1.0, 1e-3]) if bidirectional else None,
        delay=int(rng.integers(2)) if discrete else 1,
        delay_reverse=int(rng.integers(2)),
    )


def mp_gain(system, k, omega):
    """``|G|`` of channel `k` at a float64 frequency, in 50 digits."""
    with mp.workdps(50):
        s = mp.expj(mp.mpf(float(omega))) if system.is_discrete else mp.mpc(0, float(omega))
        total = mp.mpc(system.D[k, 0, 0])
        for i in range(system.n):
            pole, b, c = mp.mpc(system.poles[k, i]), mp.mpc(system.B[k, i, 0]), mp.mpc(system.C[k, 0, i])
            reverse = None if system.C_reverse is None else mp.mpc(system.C_reverse[k, 0, i])
            for conjugate in (False, True) if system.conjugate_pairs else (False,):
                if conjugate:
                    pole, b, c = mp.conj(pole), mp.conj(b), mp.conj(c)
                    reverse = None if reverse is None else mp.conj(reverse)
                total += c * b / (s - pole) * (s if system.delay == 0 else 1)
                if reverse is not None:
                    total += reverse * b / (1 / s - pole) * (1 / s if system.delay_reverse == 0 else 1)
        return abs(total)


def fast_gain(system, omega):
    """``|G|`` of every channel at its own frequencies (N, k), in extended precision, by another formula."""
    wide = np.clongdouble
    omega = omega.astype(np.longdouble)
    s = np.exp(1j * omega.astype(wide)) if system.is_discrete else 1j * omega.astype(wide)

    def half(pole, b, c, reverse):
        out = ((c * b)[:, None] / (s[..., None] - pole[:, None])).sum(-1) * (s if system.delay == 0 else 1)
        if reverse is not None:
            back = 1 / s
            term = ((reverse * b)[:, None] / (back[..., None] - pole[:, None])).sum(-1)
            out = out + term * (back if system.delay_reverse == 0 else 1)
        return out

    pole, b, c = system.poles.astype(wide), system.B[..., 0].astype(wide), system.C[:, 0].astype(wide)
    reverse = None if system.C_reverse is None else system.C_reverse[:, 0].astype(wide)
    G = half(pole, b, c, reverse) + system.D[:, 0]
    if system.conjugate_pairs:
        G = G + half(pole.conj(), b.conj(), c.conj(), None if reverse is None else reverse.conj())
    return np.abs(G)


def probes(system, per_pole=16):
    """Frequencies around every pole, at its own scale, on both sides of zero."""
    u = np.tan(np.linspace(-np.pi, np.pi, per_pole + 2)[1:-1] / 2)
    margin = system.margin[..., None]
    if system.is_discrete:
        omega = np.angle(system.poles)[..., None] + 2 * np.arctan(margin / (2 - margin) * u)
    else:
        omega = system.poles.imag[..., None] + margin * u
    omega = omega.reshape(len(system.poles), -1)
    return np.concatenate([omega, -omega], axis=1)


def assert_true_bracket(system, bracket):
    """No gain above `upper`, none below `lower` at the witness; what extended precision doubts, 50 digits decide."""
    omega = np.concatenate([probes(system), bracket.frequency[:, None]], axis=1)
    gain = fast_gain(system, omega)
    for k in np.flatnonzero(gain.max(axis=1) > bracket.upper):
        assert mp_gain(system, k, omega[k, gain[k].argmax()]) <= bracket.upper[k]
    for k in np.flatnonzero(gain[:, -1] < bracket.lower):
        assert mp_gain(system, k, bracket.frequency[k]) >= bracket.lower[k]


@pytest.mark.parametrize("seed", range(ATTACKS))
def test_bracket_is_never_wrong(seed):
    system = draw(np.random.default_rng(seed), 40)
    bracket = hinf_norm(system)
    assert (bracket.lower <= bracket.upper).all()
    assert (bracket.status == "closed") == bool((bracket.width <= 1e-8).all())
    assert_true_bracket(system, bracket)


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("exponent", [-1, -3, -5, -7, -9])
def test_closed_to_1e8_and_right_where_the_answer_is_known(discrete, exponent):
    """One real pole, D of the same sign: the norm is at zero frequency, in closed form."""
    margin = np.array([10.0**exponent])
    pole = np.array([[1.0 - margin[0]]]) if discrete else np.array([[-margin[0]]])
    system = DiagonalStateSpace(pole, [[[3.0]]], [[[0.5]]], [[[0.25]]], dt=1.0 if discrete else None)
    bracket = hinf_norm(system)
    with mp.workdps(50):
        truth = 3 / (1 - mp.mpf(pole[0, 0])) if discrete else 3 / -mp.mpf(pole[0, 0])
        truth += mp.mpf(0.25)
        assert bracket.lower[0] <= truth <= bracket.upper[0]
    assert bracket.status == "closed"
    assert bracket.width[0] <= 1e-8


def test_closed_at_margins_down_to_1e9():
    rng = np.random.default_rng(3)
    margin = 10.0 ** rng.uniform(-9, -2, (30, 6))
    poles = (1 - margin) * np.exp(1j * rng.uniform(0, np.pi, (30, 6)))
    C = rng.normal(size=(30, 1, 6)) + 1j * rng.normal(size=(30, 1, 6))
    system = DiagonalStateSpace(poles, np.ones((30, 6, 1)), C)
    bracket = hinf_norm(system)
    assert bracket.status == "closed"
    assert_true_bracket(system, bracket)


def test_one_complex_pole_has_the_gain_of_its_formula():
    rng = np.random.default_rng(4)
    margin = 10.0 ** rng.uniform(-9, -0.1, (50, 1))
    poles = (1 - margin) * np.exp(1j * rng.uniform(-np.pi, np.pi, (50, 1)))
    system = DiagonalStateSpace(poles, rng.normal(size=(50, 1, 1)), rng.normal(size=(50, 1, 1)), conjugate_pairs=False)
    bracket = hinf_norm(system)
    truth = np.abs(system.B * system.C)[:, 0, 0] / system.margin[:, 0]
    assert (bracket.lower <= truth * (1 + 1e-14)).all()
    assert (truth * (1 - 1e-14) <= bracket.upper).all()


def s4d(rng, channels=16, pairs=32):
    """Draw an S4D-Lin layer in one direction."""
    step = np.exp(rng.uniform(np.log(1e-3), np.log(1e-1), (channels, 1)))
    rate = -0.5 + 1j * np.pi * np.arange(pairs)
    poles = np.exp(rate * step)
    C = rng.normal(size=(channels, 1, pairs)) + 1j * rng.normal(size=(channels, 1, pairs))
    return DiagonalStateSpace(poles, ((poles - 1) / rate)[..., None], C, rng.normal(size=(channels, 1, 1)), delay=0)


def test_channels_are_independent():
    system = s4d(np.random.default_rng(6))
    bracket = hinf_norm(system)
    order = np.random.default_rng(7).permutation(16)
    permuted = hinf_norm(system[order])
    for name in ("lower", "upper", "frequency"):
        np.testing.assert_array_equal(getattr(permuted, name), getattr(bracket, name)[order])
    for k in range(3):
        single = hinf_norm(system[k])  # as a sum of modes, by another proof
        assert isinstance(single.upper, float)
        assert single.lower <= bracket.upper[k]
        assert bracket.lower[k] <= single.upper


@pytest.mark.parametrize("bidirectional", [False, True])
def test_batch_agrees_with_the_norm_of_each_system(bidirectional):
    """`hinf_norm` of a single system is another method (arcs of Taylor models of a matrix): the brackets overlap."""
    rng = np.random.default_rng(10)
    system = s4d(rng, 4, 5)
    if bidirectional:
        system = system.replace(C_reverse=rng.normal(size=(4, 1, 5)) + 1j * rng.normal(size=(4, 1, 5)))
    bracket = hinf_norm(system)
    for k in range(4):
        single = hinf_norm(system[k])
        assert single.lower <= bracket.upper[k]
        assert bracket.lower[k] <= single.upper


def test_batch_axes_and_scale():
    system = s4d(np.random.default_rng(8), 6)
    folded = DiagonalStateSpace(
        system.poles.reshape(2, 3, -1), system.B.reshape(2, 3, -1, 1), system.C.reshape(2, 3, 1, -1), delay=0
    )
    flat = hinf_norm(system.replace(D=None))
    np.testing.assert_array_equal(hinf_norm(folded).upper, flat.upper.reshape(2, 3))
    huge = hinf_norm(system.replace(B=system.B * 2.0**300, C=system.C * 2.0**-700, D=None))
    np.testing.assert_array_equal(huge.upper, flat.upper * 2.0**-400)


def test_looser_is_cheaper_and_wider():
    system = s4d(np.random.default_rng(9))
    tight, loose = hinf_norm(system), hinf_norm(system, rtol=1e-3)
    assert loose.diagnostics["intervals"] < tight.diagnostics["intervals"]
    assert (loose.width <= 1e-3).all()
    assert (np.maximum(loose.lower, tight.lower) <= np.minimum(loose.upper, tight.upper)).all()


def test_what_cannot_be_closed_stays_open_and_true():
    """Two modes that cancel up to rounding: nobody knows more than that the gain is tiny."""
    system = DiagonalStateSpace([[0.9, 0.9]], [[[1.0], [1.0]]], [[[1.0, -1.0 + 2**-50]]])
    bracket = hinf_norm(system)
    assert bracket.status == "open"
    assert bracket.lower[0] <= 20 * 2**-50 <= bracket.upper[0] < 1e-9


def test_silent_static_and_empty():
    silent = DiagonalStateSpace([[0.9], [0.5]], np.zeros((2, 1, 1)), np.ones((2, 1, 1)))
    assert hinf_norm(silent).status == "closed"
    assert (hinf_norm(silent).upper == 0).all()
    static = DiagonalStateSpace(np.zeros((2, 0)), np.zeros((2, 0, 1)), np.zeros((2, 1, 0)), [[[3.0]], [[-2.0]]])
    bracket = hinf_norm(static)
    assert bracket.status == "closed"
    assert bracket.upper == pytest.approx([3.0, 2.0])
    none = DiagonalStateSpace(np.zeros((0, 3)), np.zeros((0, 3, 1)), np.zeros((0, 1, 3)))
    assert hinf_norm(none).upper.shape == (0,)


def test_refusals():
    with pytest.raises(StabilityError):
        hinf_norm(DiagonalStateSpace([[1.5]], np.ones((1, 1, 1)), np.ones((1, 1, 1))))
    with pytest.raises(InputError):
        hinf_norm(s4d(np.random.default_rng(0), 1), rtol=0.0)
