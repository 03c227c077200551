"""The referee's ends hold the exact gain, also where float64 is far off; nobody is blamed on a guess."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest

from ssmreduce import DiagonalStateSpace, StateSpace, crosscheck
from ssmreduce.comparison.peers import gain
from ssmreduce.comparison.referee import gain_ends, judged
from ssmreduce.comparison.work import capped
from theory.norms import linf_norm
from theory.norms.bracket import Bracket

STIFF = StateSpace(  # poles -1e12, -1, -6; float64 is off by 65 % at frequency 0
    [
        [6999999999992.0, 13999999999986.0, 13999999999986.0],
        [-6000000000004.0, -12000000000004.0, -11999999999998.0],
        [2000000000008.0, 4000000000011.0, 4000000000005.0],
    ],
    [[1.0], [-2.0], [-2.0]],
    [[1.0, 2.0, -3.0]],
)


def exact_gain(system: Any, omega: float) -> Any:
    """Largest singular value in 80 digits, from the definition."""
    with mpmath.workdps(80):
        point = mpmath.mpc(0, omega) if system.dt is None else mpmath.expj(mpmath.mpf(omega))

        def matrix(values: np.ndarray) -> Any:
            return mpmath.matrix([[mpmath.mpmathify(complex(x)) for x in row] for row in values])

        if isinstance(system, StateSpace):
            M = point * mpmath.eye(system.n) - matrix(system.A)
            value = matrix(system.C) * mpmath.inverse(M) * matrix(system.B) + matrix(system.D)
        else:
            value = matrix(system.D)
            for conjugate in (False, True) if system.conjugate_pairs else (False,):
                pole, B, C = (x.conj() if conjugate else x for x in (system.poles, system.B, system.C))
                for i in range(system.n):
                    mode = point ** (1 - system.delay) / (point - mpmath.mpmathify(complex(pole[i])))
                    value = value + mode * matrix(C[:, i : i + 1]) * matrix(B[i : i + 1])
        return mpmath.svd_c(value, compute_uv=False)[0]


def draw(kind: str, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    n = 4
    if kind == "stiff":
        poles = -np.round(10.0 ** rng.uniform(0, 9, n))
        T = np.round(rng.normal(size=(n, n)) * 4) + 9 * np.eye(n)
        A = np.round(T @ np.diag(poles) @ np.linalg.inv(T))
        return StateSpace(A, rng.integers(-3, 4, (n, 2)), rng.integers(-3, 4, (2, n)))
    if kind == "companion":
        A = np.diag(np.ones(n - 1), -1)
        A[0] = -np.poly((1 - 10.0 ** rng.uniform(-5, -3, n)) * np.ones(n)).real[1:]
        return StateSpace(A, np.eye(n, 1), rng.normal(size=(1, n)), dt=1.0)
    poles = (1 - 10.0 ** rng.uniform(-7, -1, n)) * np.exp(1j * rng.uniform(0, 3, n))
    B, C = (rng.normal(size=s) + 1j * rng.normal(size=s) for s in ((n, 2), (2, n)))
    if kind == "continuous":
        return DiagonalStateSpace(1e3 * (poles - 1), B, C, rng.normal(size=(2, 2)), dt=None)
    return DiagonalStateSpace(poles, B, C, rng.normal(size=(2, 2)), dt=1.0, delay=int(rng.integers(2)))


@pytest.mark.parametrize("kind", ["stiff", "companion", "diagonal", "continuous"])
@pytest.mark.parametrize("seed", range(4))
def test_the_ends_hold_the_exact_gain(kind: str, seed: int) -> None:
    system = draw(kind, seed)
    poles = np.asarray(system.poles)
    peak = np.angle(poles) if system.is_discrete else poles.imag
    for omega in (0.0, 0.3, float(peak[0]), float(peak[-1]) + 1e-9):
        low, high = gain_ends(system, omega)
        truth = exact_gain(system, omega)
        assert low <= truth <= high
        if kind != "companion":  # there the point on the circle itself is a rounded number
            assert high - low <= 1e-6 * float(truth) + 1e-12


def test_the_ends_hold_where_float64_does_not() -> None:
    low, high = gain_ends(STIFF, 0.0)
    truth = exact_gain(STIFF, 0.0)
    assert low <= truth <= high <= low * (1 + 1e-6)
    assert abs(gain(STIFF, 0.0)[0] - float(truth)) > 1e-3 * float(truth)  # what the referee relied on before


def test_what_float64_cannot_invert_has_no_ends() -> None:
    assert gain_ends(StateSpace([[1.0, 1.0], [1.0, 1.0]], [[1.0], [0.0]], [[1.0, 0.0]]), 0.0) == (0.0, np.inf)
    assert gain_ends(StateSpace([], [], [], [[3.0, 4.0]]), 1.0)[0] == pytest.approx(5.0)
    assert gain_ends(StateSpace([[-1.0]], np.zeros((1, 0)), [[1.0]]), 0.0) == (0.0, 0.0)


@pytest.mark.parametrize("seed", range(6))
def test_nobody_says_that_a_true_bracket_is_wrong(seed: int) -> None:
    system = STIFF if seed == 0 else draw("stiff" if seed % 2 else "companion", seed)
    ours = linf_norm(system)
    opinions = crosscheck(system, bracket=ours, sweep_points=50)
    assert opinions.agree, str(opinions)


@pytest.mark.parametrize(("factor", "verdict"), [(1 - 1e-12, "below"), (1 + 1e-12, "above"), (1.0, "agrees")])
def test_a_value_within_its_own_tolerance_is_told_to_the_digit(factor: float, verdict: str) -> None:
    system = draw("diagonal", 1)
    exact = gain_ends(system, 0.3)[0]
    opinion = judged("peer", system, exact * factor, 0.3, Bracket(exact, exact, 0.3), 1e-10, 0.0)
    assert (opinion.verdict, opinion.wrong) == (verdict, "")
    assert Fraction(opinion.gap) == Fraction(exact * factor / exact - 1)


def test_a_disagreement_that_float64_cannot_settle_blames_nobody() -> None:
    singular = StateSpace([[1.0, 1.0], [1.0, 1.0]], [[1.0], [0.0]], [[1.0, 0.0]])
    for value in (1.0, 9.0):
        opinion = judged("peer", singular, value, 0.0, Bracket(4.0, 5.0, 0.0), 1e-10, 0.0)
        assert (opinion.verdict, opinion.wrong) == ("undecided", "")
        assert not opinion.in_conflict
    assert judged("peer", singular, np.nan, 0.0, Bracket(4.0, 5.0, 0.0), 1e-10, 0.0).verdict == "undecided"


def test_an_upper_end_above_a_proved_bound_comes_down_to_it() -> None:
    error = Bracket(1.0, 1.2, 0.3, "closed", {"proof": "x"})
    assert capped(error, 1.1).upper == 1.1
    assert (capped(error, 1.1).lower, capped(error, 1.1).diagnostics) == (1.0, {"proof": "x"})
    open_one = Bracket(1.0, 1.2, 0.3, "open")
    assert [capped(open_one, bound).status for bound in (1.0, 1.1)] == ["closed", "open"]
    for bound in (None, 1.3, np.inf, 0.9):  # a bound below the lower end is a contradiction, and stays one
        assert capped(error, bound) is error
