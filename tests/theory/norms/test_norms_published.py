"""Norms that other packages' tests and textbooks publish, or that a formula gives: the bracket must hold them.

Where the data are exact in float64 the truth is an exact number, and it lies in the bracket without tolerance.
Published decimals must agree to the digits that are printed; the peak is found again in 50 digits by golden section.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np
import pytest
import scipy.signal

from theory.errors import StabilityError
from theory.gramians.h2 import h2_norm
from theory.gramians.hankel import hankel_singular_values
from theory.norms import error_norm, hinf_norm, linf_norm
from theory.systems.discretization import discretize
from theory.systems.system import DiagonalStateSpace, StateSpace, System

sys.path.insert(0, str(Path(__file__).parents[1]))
from reference.gains import exact_gain

mp.mp.dps = 50


def transfer(num: list[float], den: list[float], dt: float | None = None) -> StateSpace:
    """Controllable form of ``num / den``, monic `den`: entries of the companion matrix are the coefficients."""
    n = len(den) - 1
    assert den[0] == 1
    full = np.concatenate([np.zeros(n + 1 - len(num)), num])
    A = np.eye(n, k=-1)
    A[0] = -np.array(den[1:])
    return StateSpace(A, np.eye(n)[:, :1], (full[1:] - full[0] * np.array(den[1:]))[None], full[0], dt=dt)


def lag(zeta: float) -> StateSpace:
    return transfer([1], [1, 2 * zeta, 1])


def resonance(zeta: float) -> Any:
    z = mp.mpf(zeta)
    return 1 / (2 * z * mp.sqrt(1 - z * z))


def all_pass(poles: list[complex], dt: float | None) -> StateSpace:
    """Cascade of real first-order and second-order all-pass sections, exact for dyadic data in the sections."""
    A, B, C, D = np.zeros((0, 0)), np.zeros((0, 1)), np.zeros((1, 0)), np.ones((1, 1))
    for pole in poles:
        den = np.array([1, -2 * pole.real, abs(pole) ** 2]) if pole.imag else np.array([1, -pole.real])
        num = den[::-1] if dt else den * (-1.0) ** np.arange(len(den))
        s = transfer(list(num), list(den), dt)
        A = np.block([[A, np.zeros((len(A), s.n))], [s.B @ C, s.A]])
        B, C, D = np.vstack([B, s.B @ D]), np.hstack([s.D @ C, s.C]), s.D @ D
    return StateSpace(A, B, C, D, dt=dt)


def delay(k: int) -> StateSpace:
    return transfer([1], [1] + [0] * k, 1.0)


def fir(taps: list[float]) -> StateSpace:
    return transfer(taps, [1] + [0] * (len(taps) - 1), 1.0)


EXACT: dict[str, tuple[Callable[[], System], Any, float | None]] = {
    # python-control sysnorm_test, Julia's ControlSystems, every textbook: 1/(s+1)
    "first order": (lambda: StateSpace(-1, 1, 1, 0), 1, 0.0),
    "first order with gain": (lambda: StateSpace(-0.25, 3, 2, 0), 24, 0.0),
    "high pass s/(s+1)": (lambda: StateSpace(-1, 1, -1, 1), 1, np.inf),
    "lead (2s+1)/(s+1)": (lambda: StateSpace(-1, 1, -1, 2), 2, np.inf),
    "lag (s+4)/(s+1)": (lambda: StateSpace(-1, 1, 3, 1), 4, 0.0),
    "discrete lag": (lambda: StateSpace(0.75, 1, 1, 0, dt=1.0), 4, 0.0),
    "discrete lag, dt 0.1": (lambda: StateSpace(0.75, 1, 1, 0, dt=0.1), 4, 0.0),
    "discrete, alternating": (lambda: StateSpace(-0.75, 1, 1, 0, dt=0.5), 4, np.pi),
    "static": (lambda: StateSpace([], [], [], [[3, 4]]), 5, None),
    "static, discrete": (lambda: StateSpace([], [], [], [[3], [-4]], dt=0.1), 5, None),
    "no input matrix": (lambda: StateSpace([[-1, 2], [0, -3]], np.zeros((2, 1)), np.ones((1, 2)), [[-2]]), 2, None),
    "zero": (lambda: StateSpace([[-1, 2], [0, -3]], np.zeros((2, 2)), np.ones((3, 2))), 0, None),
    "overdamped": (lambda: lag(2.0), 1, 0.0),
    "at the edge of resonance": (lambda: transfer([0.5], [1, 1, 0.5]), 1, 0.0),
    "resonance 1/8": (lambda: lag(0.125), resonance(0.125), float(np.sqrt(1 - 2 / 64))),
    "resonance 1/1024": (lambda: lag(2.0**-10), resonance(2.0**-10), 1.0),
    "resonance 2^-20": (lambda: lag(2.0**-20), resonance(2.0**-20), 1.0),
    "velocity": (lambda: transfer([1, 0], [1, 2.0**-9, 1]), 2**9, 1.0),
    # python-control linfnorm tests: 100/(s^2+10s+100), 1.1547005 at 7.0710678
    "linfnorm underdamped": (lambda: transfer([100], [1, 10, 100]), 2 / mp.sqrt(3), 7.0710678),
    "linfnorm twice": (
        lambda: StateSpace(
            np.kron(np.eye(2), transfer([100], [1, 10, 100]).A), np.kron(np.eye(2), [[1], [0]]),
            np.kron(np.eye(2), [[0, 100]]),
        ),
        2 / mp.sqrt(3),
        7.0710678,
    ),
    "first order all-pass": (lambda: all_pass([-0.5], None), 1, None),
    "second order all-pass": (lambda: all_pass([-0.25 + 1j], None), 1, None),
    "all-pass of order five": (lambda: all_pass([-0.5, -0.125 + 2j, -2 + 0.5j], None), 1, None),
    "discrete all-pass": (lambda: all_pass([0.5], 1.0), 1, None),
    "discrete all-pass of order five": (lambda: all_pass([-0.5, 0.25 + 0.5j, 0.75 - 0.25j], 1.0), 1, None),
    "double pole": (lambda: transfer([1], [1, 2, 1]), 1, 0.0),
    "fourth order pole": (lambda: transfer([1], [1, 4, 6, 4, 1]), 1, 0.0),
    "double pole near the circle": (lambda: transfer([1], [1, -1.875, 0.87890625], 1.0), 256, 0.0),
    "one delay": (lambda: delay(1), 1, None),
    "twelve delays": (lambda: delay(12), 1, None),
    "moving average": (lambda: fir([0.25] * 4), 1, 0.0),
    "difference": (lambda: fir([1, -1]), 2, np.pi),
    "second difference": (lambda: fir([1, -2, 1]), 4, np.pi),
    "comb": (lambda: fir([1, 0, 0, 1]), 2, None),
    "dead-beat minus delay": (lambda: fir([0, 1, -1, 1, -1]), 4, np.pi),
    # one pair of an S5 layer: z/(z-l) + z/(z-conj(l)) with l = 1/2 is 2 z/(z-1/2)
    "a pair in S5's scan": (lambda: DiagonalStateSpace([0.5], [[1]], [[1]], delay=0), 4, 0.0),
    "a complex mode": (lambda: DiagonalStateSpace([0.5j], [[3]], [[1]], conjugate_pairs=False), 6, np.pi / 2),
    # forwards and backwards: 2/(z-1/2) + 2/(1/z-1/2)
    "both directions": (lambda: DiagonalStateSpace([0.5], [[1]], [[1]], C_reverse=[[1]]), 8, 0.0),
    "rank one": (
        lambda: StateSpace(-2 * np.eye(3), np.ones((3, 4)), np.ones((4, 3))), 6, 0.0,
    ),
    "diagonal gains": (lambda: StateSpace(np.diag([-1.0, -2, -4]), np.eye(3), np.diag([1.0, 6, 8])), 3, 0.0),
}  # fmt: skip


@pytest.mark.parametrize("name", EXACT)
def test_the_bracket_holds_the_exact_norm(name: str) -> None:
    make, truth, frequency = EXACT[name]
    bracket = hinf_norm(make())
    assert mp.mpf(bracket.lower) <= truth <= mp.mpf(bracket.upper)
    assert bracket.status == "closed"
    assert bracket.upper <= bracket.lower * (1 + 1e-8)
    if frequency is not None:
        assert bracket.frequency == pytest.approx(frequency, abs=2e-4 if frequency < 100 else 0)


def mimo_of_matlab() -> StateSpace:
    """The random system of python-control's sysnorm_test, computed there with MATLAB."""
    return StateSpace(
        [
            [-1.017041847539126, -0.224182952826418, 0.042538079149249],
            [-0.310374015319095, -0.516461581407780, -0.119195790221750],
            [-1.452723568727942, 1.7995860837102088, -1.491935830615152],
        ],
        [
            [0.312858596637428, -0.164879019209038],
            [-0.864879917324456, 0.627707287528727],
            [-0.030051296196269, 1.093265669039484],
        ],
        [
            [1.109273297614398, 0.077359091130425, -1.113500741486764],
            [-0.863652821988714, -1.214117043615409, -0.006849328103348],
        ],
    )


def slicot_ab13dd() -> StateSpace:
    """Example of SLICOT's AB13DD: three pairs damped 1e-4 to 1e-6."""
    blocks = [np.array([[0.0, 1.0], [-k, -d]]) for k, d in ((0.5, 2e-4), (1.0, 2e-5), (2.0, 2e-6))]
    A = np.zeros((6, 6))
    for i, block in enumerate(blocks):
        A[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = block
    return StateSpace(A, [[1], [0]] * 3, [[1, 0] * 3])


def two_masses() -> StateSpace:
    """Zhou and Doyle, Essentials of Robust Control, the two-mass/spring/damper example of chapter 4."""
    k1, k2, b1, b2, m1, m2 = 1.0, 4.0, 0.2, 0.1, 1.0, 2.0
    A = [
        [0, 0, 1, 0],
        [0, 0, 0, 1],
        [-k1 / m1, k1 / m1, -b1 / m1, b1 / m1],
        [k1 / m2, -(k1 + k2) / m2, b1 / m2, -(b1 + b2) / m2],
    ]
    return StateSpace(A, [[0, 0], [0, 0], [1 / m1, 0], [0, 1 / m2]], [[1, 0, 0, 0], [0, 1, 0, 0]])


def two_by_two() -> StateSpace:
    """Zhou and Doyle, Essentials, chapter 4: four second-order entries, resonant at 10 and sqrt(10)."""
    parts = [
        transfer([10, 10], [1, 0.2, 100]),
        transfer([1], [1, 1]),
        transfer([1, 2], [1, 0.1, 10]),
        transfer([5, 5], [1, 5, 6]),
    ]
    n = sum(part.n for part in parts)
    A, B, C, start = np.zeros((n, n)), np.zeros((n, 2)), np.zeros((2, n)), 0
    for part, (row, column) in zip(parts, ((0, 0), (0, 1), (1, 0), (1, 1)), strict=True):
        stop = start + part.n
        A[start:stop, start:stop], B[start:stop, column], C[row, start:stop] = part.A, part.B[:, 0], part.C[0]
        start = stop
    return StateSpace(A, B, C)


PUBLISHED: dict[str, tuple[Callable[[], StateSpace], float, float, tuple[float, float]]] = {
    # value, relative half unit of the last digit printed, and where the peak is
    "python-control, MATLAB": (mimo_of_matlab, 4.276759162964244, 1e-14, (-0.1, 0.1)),
    "SLICOT AB13DD": (slicot_ab13dd, 5.0e5, 1e-5, (1.4141, 1.4143)),
    "Zhou and Doyle, two masses": (two_masses, 11.47, 5e-4, (0.8, 0.9)),
    "Zhou and Doyle, two by two": (two_by_two, 50.25, 1e-4, (9.8, 10.2)),
}


def peak(system: System, low: float, high: float) -> Any:
    """The largest gain between two frequencies by golden section, in mpmath; assumes a single maximum there."""
    ratio = (mp.sqrt(5) - 1) / 2
    a, b = mp.mpf(low), mp.mpf(high)
    c, d = b - ratio * (b - a), a + ratio * (b - a)
    at_c, at_d = exact_gain(system, c), exact_gain(system, d)
    for _ in range(70):
        if at_c > at_d:
            b, d, at_d = d, c, at_c
            c = b - ratio * (b - a)
            at_c = exact_gain(system, c)
        else:
            a, c, at_c = c, d, at_d
            d = a + ratio * (b - a)
            at_d = exact_gain(system, d)
    return max(at_c, at_d)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_bracket_holds_the_published_norm(name: str) -> None:
    make, value, digits, where = PUBLISHED[name]
    bracket = hinf_norm(make())
    assert bracket.status == "closed"
    assert bracket.upper <= bracket.lower * (1 + 1e-8)
    assert bracket.lower <= value * (1 + digits)
    assert bracket.upper >= value * (1 - digits)
    assert where[0] < bracket.frequency < where[1]
    assert mp.mpf(bracket.lower) <= peak(make(), *where) <= mp.mpf(bracket.upper)


def test_sampled_by_a_hold_the_published_norms_stay() -> None:
    # python-control's sysnorm_test: 4.276759162964228 and 0.707434962289554 after sampling with 0.1 s
    held = discretize(mimo_of_matlab(), 0.1)
    bracket = hinf_norm(held)
    assert bracket.lower <= 4.276759162964228 * (1 + 1e-13)
    assert bracket.upper >= 4.276759162964228 * (1 - 1e-13)
    assert h2_norm(held) == pytest.approx(0.707434962289554, rel=1e-12)
    first = discretize(StateSpace(-1, 1, 1), 0.1)
    assert hinf_norm(first).upper >= 1 - 1e-14
    assert hinf_norm(first).lower <= 1 + 1e-14
    # published as 0.223513699524858, right to eight digits; (1-a)/(1+a) with a = exp(-dt) is tanh(dt/2)
    assert h2_norm(first) == pytest.approx(float(mp.sqrt(mp.tanh(mp.mpf("0.05")))), rel=1e-14)
    assert h2_norm(first) == pytest.approx(0.223513699524858, rel=2e-8)


def test_energies_and_hankel_singular_values_of_other_packages() -> None:
    assert h2_norm(mimo_of_matlab()) == pytest.approx(2.237461821810309, rel=1e-13)
    assert h2_norm(StateSpace(-1, 1, 1)) == pytest.approx(np.sqrt(0.5), rel=1e-15)
    assert h2_norm(StateSpace(-1, 1, 1, 1)) == np.inf
    assert h2_norm(lag(0.125)) == pytest.approx(np.sqrt(1 / (4 * 0.125)), rel=1e-14)  # 1/(4 zeta)
    # python-control's modelsimp_test
    hsv = hankel_singular_values(StateSpace([[1, -2], [3, -4]], [[5], [7]], [[6, 8]], [[9]]))
    np.testing.assert_allclose(hsv, [24.42686, 0.5731395], rtol=3e-7)
    # an all-pass system of norm 1 has all Hankel singular values 1 (Glover 1984, lemma on all-pass dilations)
    for system in (all_pass([-0.5, -0.125 + 2j, -2 + 0.5j], None), all_pass([-0.5, 0.25 + 0.5j, 0.75], 1.0)):
        np.testing.assert_allclose(hankel_singular_values(system), 1.0, rtol=1e-11)
    np.testing.assert_allclose(hankel_singular_values(delay(6)), 1.0, rtol=1e-14)


@pytest.mark.parametrize("order", [2, 3, 5, 8])
@pytest.mark.parametrize("family", ["butterworth", "chebyshev", "digital butterworth", "digital chebyshev"])
def test_filters_pass_at_most_one(order: int, family: str) -> None:
    analog = not family.startswith("digital")
    if "butterworth" in family:
        b, a = scipy.signal.butter(order, 1.0 if analog else 0.3, analog=analog)
    else:
        b, a = scipy.signal.cheby1(order, 1.0, 1.0 if analog else 0.3, analog=analog)
    bracket = hinf_norm(transfer(list(b), list(a), None if analog else 1.0))
    # the coefficients are rounded: one up to eps times the condition of the filter
    assert bracket.lower <= 1 + 1e-8
    assert bracket.upper >= 1 - 1e-8
    assert bracket.upper <= 1 + 3e-8


def test_unstable_and_marginal_systems_of_other_packages() -> None:
    # python-control's sysnorm_test: 1/(1-s) has L-infinity norm 1, 1/(s^2+1) has none
    unstable = StateSpace(1, -1, 1)
    with pytest.raises(StabilityError):
        hinf_norm(unstable)
    bracket = linf_norm(unstable)
    assert 1.0 in bracket
    assert bracket.status == "closed"
    marginal = transfer([1], [1, 0, 1])
    with pytest.raises(StabilityError):
        hinf_norm(marginal)
    bracket = linf_norm(marginal)
    assert bracket.upper == np.inf
    assert bracket.frequency == pytest.approx(1.0, abs=1e-12)
    held = StateSpace(2.0, 1, 1, dt=1.0)
    assert 1.0 in linf_norm(held)
    twice = StateSpace([[0, 1], [0, 0]], [[0], [1]], [[1, 0]])  # 1/s^2; single integrators are in test_norms.py
    with pytest.raises(StabilityError):
        hinf_norm(twice)
    assert linf_norm(twice).upper == np.inf


def test_the_difference_of_two_systems_that_share_an_integrator() -> None:
    both = DiagonalStateSpace([0.0, -2.0], np.ones((2, 1)), np.ones((1, 2)), dt=None, conjugate_pairs=False)
    assert 0.5 in error_norm(both, both.keep([0]))
    assert 0.5 in error_norm(both.keep([0]), both)
    accumulator = DiagonalStateSpace([1.0, 0.5], np.ones((2, 1)), np.ones((1, 2)), conjugate_pairs=False)
    assert 2.0 in error_norm(accumulator, accumulator.keep([0]))


def test_the_difference_of_a_delay_and_its_approximation() -> None:
    # e^{-s} against (1-s/2)/(1+s/2) has no finite state space; z^-1 against the lag (1/2)/(z-1/2): -1 + 1/3 at z = -1
    error = error_norm(delay(1), StateSpace(0.5, 0.5, 1, dt=1.0))
    assert mp.mpf(error.lower) <= mp.mpf(2) / 3 <= mp.mpf(error.upper)
    assert error.frequency == pytest.approx(np.pi, abs=1e-4)


@pytest.mark.parametrize("name", ["resonance 1/8", "linfnorm underdamped", "discrete lag, dt 0.1", "both directions"])
def test_slycot_agrees(name: str) -> None:
    pytest.importorskip("slycot")
    from ssmreduce.comparison.second_opinions import slycot_opinion

    system = EXACT[name][0]()
    opinion = slycot_opinion(system, hinf_norm(system))
    assert opinion.verdict == "agrees"
    assert opinion.value == pytest.approx(float(EXACT[name][1]), rel=1e-6)
