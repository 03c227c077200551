"""Triangular systems by substitution: chains that no eigenvectors know, and fractions at the ends of the axis."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from theory.norms import hinf_norm, linf_norm, plan
from theory.norms.responses.substitution import Substitution, Triangular
from theory.systems.boundary import AXIS, CIRCLE
from theory.systems.system import StateSpace
from theory.systems.triangular import triangular_order


def chain(rates: np.ndarray, *, discrete: bool) -> StateSpace:
    """Lags ``r / (s + r)``, or ``r / (z - 1 + r)``, one after the other: the gain is 1, at z = 1 or s = 0."""
    A = np.diag(rates[1:], -1) - np.diag(rates) + (np.eye(rates.size) if discrete else 0.0)
    return StateSpace(A, rates[0] * np.eye(rates.size)[:, :1], np.eye(rates.size)[-1:], dt=1.0 if discrete else None)


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("span", [0.0, 3.0, 12.0])
def test_chains_of_lags(span: float, discrete: bool) -> None:
    rates = 0.5 * np.logspace(0, -span, 18)
    rates = np.ldexp(np.round(np.ldexp(rates, 50)), -50) if discrete else rates  # 1 - r is exact
    system = chain(rates, discrete=discrete)
    order = np.random.default_rng(0).permutation(18)
    for A, B, C in (
        (system.A, system.B, system.C),
        (system.A[np.ix_(order, order)], system.B[order], system.C[:, order]),
    ):
        bracket = hinf_norm(StateSpace(A, B, C, dt=system.dt))
        assert bracket.status == "closed"
        assert bracket.lower <= 1.0 <= bracket.upper


@pytest.mark.parametrize("rates", [(1e-100, 1e100), (1e-30, 1.0, 1e30), (2.0, 2.0)])
def test_fractions_of_one_each(rates: tuple[float, ...]) -> None:
    root = np.sqrt(rates)
    bracket = hinf_norm(StateSpace(-np.diag(rates), root[:, None], root[None]))
    assert bracket.status == "closed"
    assert bracket.lower <= len(rates) * (1 + 1e-15)
    assert len(rates) * (1 - 1e-15) <= bracket.upper


def random_triangular(rng: np.random.Generator, *, discrete: bool, complex_: bool) -> StateSpace:
    n = 6
    poles = 0.9 * rng.uniform(-1, 1, n) if discrete else -rng.uniform(0.1, 3.0, n)
    A, B, C = np.tril(rng.normal(size=(n, n)), -1) + np.diag(poles), rng.normal(size=(n, 2)), rng.normal(size=(2, n))
    if complex_:
        A = A * np.exp(1j * np.subtract.outer(rng.uniform(0, 6, n), rng.uniform(0, 6, n)))
        A = np.tril(A, -1) + np.diag(poles * np.exp(1j * rng.uniform(-0.4, 0.4, n)))
    return StateSpace(A, B, C, 0.5 * np.eye(2), dt=1.0 if discrete else None)


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("complex_", [True, False])
def test_the_same_norm_as_by_eigenvectors(discrete: bool, complex_: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    systems = [
        random_triangular(np.random.default_rng(seed), discrete=discrete, complex_=complex_) for seed in range(4)
    ]
    expected = [linf_norm(system) for system in systems]
    monkeypatch.setattr(plan, "RESPONSES", [Triangular()])
    for system, other in zip(systems, expected, strict=True):
        bracket = linf_norm(system)
        assert bracket.status == other.status == "closed"
        assert bracket.diagnostics["response"] == "substitution" != other.diagnostics["response"]
        assert bracket.lower <= other.upper
        assert other.lower <= bracket.upper


@pytest.mark.parametrize(("chart", "x", "sign"), [(CIRCLE, 0.0, 1), (CIRCLE, np.pi, -1), (AXIS, 0.0, 0)])
def test_samples_are_as_exact_as_they_say(chart: str, x: float, sign: int) -> None:
    rng = np.random.default_rng(5)
    n = 8
    poles = [Fraction(int(k), 64) for k in rng.integers(-60, -4, n)]
    below = np.tril(rng.integers(-40, 40, (n, n)), -1)
    state: list[Fraction] = []
    for i in range(n):
        right = 1 + sum((int(below[i, j]) * state[j] for j in range(i)), Fraction(0))
        state.append(right / (sign - poles[i]))
    exact = sum(state, Fraction(0))
    A = below.astype(float) + np.diag([float(pole) for pole in poles])
    form = Substitution(
        A=A, B=np.ones((n, 1)), C=np.ones((1, n)), D=np.zeros((1, 1)), discrete=chart == CIRCLE, real=True
    )
    value, rounding, _ = form.response(chart, np.array([x]))
    slope = 1e-15 * form.arc(chart, np.array([x]), np.array([1e-12])).first[0]  # pi is not exact
    assert abs(Fraction(float(value[0, 0, 0].real)) - exact) <= Fraction(float(rounding[0] + slope))
    assert rounding[0] < 1e-6 * abs(float(exact))


@pytest.mark.parametrize("seed", range(5))
def test_what_is_left_of_a_sum_that_cancels_is_known_no_better_than_its_terms(seed: int) -> None:
    rng, n = np.random.default_rng(seed), 8
    poles = [Fraction(int(k), 64) for k in rng.integers(-60, 60, n)]
    weights = [Fraction(int(k), 8) for k in rng.integers(-900, 900, n - 1)]
    whole = sum((weight / (1 - pole) for weight, pole in zip(weights, poles[:-1], strict=True)), Fraction(0))
    B = np.ones((n, 1))
    B[-1] = -float(whole)
    exact = (whole + Fraction(float(B[-1, 0]))) / (1 - poles[-1])
    A = np.diag([float(pole) for pole in poles])
    A[-1, :-1] = [float(weight) for weight in weights]
    form = Substitution(A=A, B=B, C=np.eye(n)[-1:], D=np.zeros((1, 1)), discrete=True, real=True)
    value, rounding, _ = form.response(CIRCLE, np.zeros(1))
    assert abs(Fraction(float(value[0, 0, 0].real)) - exact) <= Fraction(float(rounding[0]))


@pytest.mark.parametrize("discrete", [True, False])
def test_bounds_of_an_arc_hold_inside_it(discrete: bool) -> None:
    rng = np.random.default_rng(11)
    system = random_triangular(rng, discrete=discrete, complex_=True)
    form = Triangular().write(system).form
    for chart, low, high in form.charts():
        centre = rng.uniform(low, high, 12)
        h = np.full(12, 0.05 * (high - low) / 7)
        arc = form.arc(chart, centre, h)
        for t in (-1.0, -0.3, 0.6, 1.0):
            move = 2.0 * np.arctan(t * h) if chart == CIRCLE else t * h
            value, rounding, _ = form.response(chart, centre + move)
            size = np.linalg.norm(value, 2, axis=(1, 2))
            assert (size <= arc.crude * (1 + 1e-12) + rounding).all()
            risen = np.linalg.norm(value - arc.value, 2, axis=(1, 2))
            assert (risen <= arc.first * h * (1 + 1e-12) + rounding + arc.rounding).all()


def test_orders_of_substitution() -> None:
    assert triangular_order(np.array([[0.0, 1.0], [1.0, 0.0]])) is None
    assert triangular_order(np.eye(3) + np.diag([1.0, 1.0], 1)).tolist() == [2, 1, 0]
    rng = np.random.default_rng(2)
    A, order = np.tril(rng.normal(size=(9, 9))), rng.permutation(9)
    mixed = A[np.ix_(order, order)]
    found = triangular_order(mixed)
    assert found is not None
    assert not np.triu(mixed[np.ix_(found, found)], 1).any()
